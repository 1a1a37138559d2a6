/**
 * Names known from path attacks, byte for byte in the request line: each is rejected with an Ack, and nothing
 * is created.
 */

import { readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type BitsUploadOptions, bitsUpload } from '../../lib/index.ts'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { TestClient } from '../support/client.ts'
import { serve } from '../support/server.ts'
import { sessionFiles } from '../wire/disk.ts'
import { faultOfAck, isAck } from './is-ack.ts'
import { badPaths, badSegments, badTargets, devices, endlessPaths } from './names.ts'
import { ask, type RawAnswer } from './raw.ts'
import { type Territory, territory } from './territory.ts'

interface Scene {
  readonly land: Territory
  readonly url: URL
  readonly port: number
  /** Sends Create-Session for a target as it stands. */
  readonly create: (target: string) => Promise<RawAnswer>
}

async function scene(options: Partial<BitsUploadOptions> = {}): Promise<Scene> {
  const land = await territory()
  const upload = bitsUpload({ store: land.root, sweepEvery: 0, ...options })
  onTestFinished(() => upload.close({ grace: 0 }))
  const url = new URL('upload/', await serve(express().use('/upload', upload)))
  const port = Number(url.port)
  const create = (target: string) => ask(port, packet('Create-Session', target))
  return { land, url, port, create }
}

const packet = (type: string, target: string, fields: readonly string[] = []): string =>
  [
    `BITS_POST ${target} HTTP/1.1`,
    'Host: x',
    `BITS-Packet-Type: ${type}`,
    `BITS-Supported-Protocols: ${UploadProtocol}`,
    'Content-Length: 0',
    ...fields,
  ].join('\r\n')

/** Node's parser may refuse these by itself, without an Ack: it takes no raw UTF-8, and blanks end a target. */
const isOdd = (target: string): boolean => /[^!-~]/.test(target)

/** How an answer is not a refusal; undefined if it is one. */
function faultOfRefusal(answer: RawAnswer, target: string): string | undefined {
  const { status } = answer
  if (status === 400 && !isAck(answer) && isOdd(target)) return undefined
  if (![400, 403, 404].includes(status)) return `answered ${status}`
  return isAck(answer) ? faultOfAck(answer) : 'no Ack'
}

/** Sends Create-Session for all of them; expects refusals, and nothing new anywhere. */
async function expectRefused({ land, create, url }: Scene, targets: readonly string[]): Promise<void> {
  const client = new TestClient(new URL('live.bin', url))
  expect((await client.create()).status).toBe(200)
  const files = await sessionFiles(land.root)
  const faults: [target: string, fault: string][] = []
  for (const each of targets) {
    const target = each.replaceAll('$ID', client.sessionId)
    const fault = faultOfRefusal(await create(target), target)
    if (fault) faults.push([target.slice(0, 200), fault])
  }
  expect(faults).toEqual([])
  expect(await sessionFiles(land.root)).toEqual(files)
  expect(await land.published()).toEqual([])
  expect(await land.faults()).toEqual([])
  expect((await client.close()).status).toBe(200)
}

const below = (path: string): string => `/upload/${path}`

describe.each([{ overwrite: false }, { overwrite: true }])(
  'File names with overwrite: $overwrite',
  (options) => {
    it('rejects invalid segments, alone and among valid ones', async () => {
      const targets = badSegments.flatMap((bad) => [
        bad,
        `${bad}/a`,
        `folder/${bad}`,
        `folder/${bad}/a`,
        `again/${bad}`,
      ])
      await expectRefused(await scene(options), targets.map(below))
    })

    it('rejects invalid paths', async () => {
      // With overwrite, what is a file, or a link to one, may be replaced: that is looked at below.
      const mayBeReplaced = ['kept.bin', 'secret', 'dangling']
      const paths = badPaths.filter((path) => !options.overwrite || !mayBeReplaced.includes(path))
      await expectRefused(await scene(options), paths.map(below))
    })

    it('rejects invalid paths and segments in absolute form', async () => {
      const targets = [...badPaths, ...badSegments].filter(
        (path) => !['kept.bin', 'secret', 'dangling'].includes(path),
      )
      await expectRefused(
        await scene(options),
        targets.map((path) => `http://files.example${below(path)}`),
      )
    })
  },
)

it.each(endlessPaths)('File name: rejects the path $0, which cannot be resolved', async (path) => {
  await expectRefused(await scene(), [below(path)])
})

it('Request target: rejects a target without a valid name after the mount path', async () => {
  await expectRefused(await scene(), badTargets)
})

it('File name: rejects the session directory before it exists', async () => {
  const { land, create } = await scene()
  for (const path of ['.bits-sessions', '%2ebits-sessions', '.bits-sessions/a', 'hole', 'hole/a']) {
    expect([path, faultOfRefusal(await create(below(path)), path)]).toEqual([path, undefined])
  }
  expect(await land.faults()).toEqual([])
  expect(await readdir(land.root)).not.toContain('.bits-sessions')
})

it('onCreate: rejects an invalid name that the hook returns', async () => {
  let name = ''
  const { land, create } = await scene({ onCreate: () => ({ name }) })
  for (name of [
    '..',
    '../a',
    '/etc/a',
    'a\0',
    'a/',
    '',
    'way-out/a',
    'hole/a',
    '.bits-sessions/a',
    ...devices,
  ]) {
    expect([name, faultOfRefusal(await create('/upload/a'), '')]).toEqual([name, undefined])
  }
  expect(await land.faults()).toEqual([])
  expect(await sessionFiles(land.root)).toEqual([])
})

describe('Valid file name that looks invalid', () => {
  it.each([
    ['%252e%252e', '%2e%2e'],
    ['..a', '..a'],
    ['a;b=c', 'a;b=c'],
    ['..;', '..;'],
    ['a%3Bb', 'a;b'],
    ['a.bin?x=/../../b', 'a.bin'],
    ['a.bin#/../../b', 'a.bin'],
    ['a%23b', 'a#b'],
    ['a%2525', 'a%25'],
    ['~root', '~root'],
    ['$HOME', '$HOME'],
    ['`id`', '`id`'],
    ['-rf', '-rf'],
    ['com', 'com'],
    ['nul-', 'nul-'],
    ['folder/deep/x', 'folder/deep/x'],
    ['again/x', 'folder/x'],
    ['.bits-sessions-2', '.bits-sessions-2'],
    [`${'x'.repeat(255)}`, 'x'.repeat(255)],
  ])('publishes $0 as the file $1', async (target, name) => {
    const { land, port, create } = await scene()
    const created = await create(below(target))
    expect(created.status).toBe(200)
    const id = `BITS-Session-Id: ${created.headers['bits-session-id']}`
    const fields = [id, 'Content-Range: bytes 0-3/4']
    const head = packet('Fragment', below(target), fields).replace('Content-Length: 0', 'Content-Length: 4')
    expect((await ask(port, head, 'good')).status).toBe(200)
    expect((await ask(port, packet('Close-Session', below(target), [id]))).status).toBe(200)
    expect(await land.published()).toEqual([name])
    expect(await readFile(join(land.root, name), 'utf8')).toBe('good')
    expect(await sessionFiles(land.root)).toEqual([])
    expect(await land.faults()).toEqual([])
  })
})

describe('File name comparison', () => {
  const Bytes = 4

  /** Uploads to all names at once, each with its own bytes, and tells what stands under each. */
  async function uploadAll(names: readonly string[], options: Partial<BitsUploadOptions> = {}) {
    const { land, url } = await scene(options)
    const clients = names.map((name) => new TestClient(new URL(encodeURIComponent(name), url)))
    const statuses = await Promise.all(
      clients.map(async (client, i) => {
        expect((await client.create()).status).toBe(200)
        const { status } = await client.fragment(0, Buffer.from(`${i}`.padStart(Bytes, '0')), Bytes)
        expect((await client.close()).status).toBe(200)
        return status
      }),
    )
    const contents = await Promise.all(names.map((name) => readFile(join(land.root, name), 'utf8')))
    return { land, statuses, contents }
  }

  const alike = [
    'name.txt',
    'NAME.TXT',
    'Name.txt',
    'caf\u00e9',
    'cafe\u0301',
    'CAF\u00c9',
    '\ufb01',
    'fi',
    'K',
    '\u212a',
  ]

  it('distinguishes names by case and Unicode normalization', async () => {
    const { statuses, contents, land } = await uploadAll(alike)
    expect(statuses).toEqual(alike.map(() => 200))
    expect(contents).toEqual(alike.map((_, i) => `${i}`.padStart(Bytes, '0')))
    expect(await land.published()).toEqual([...alike].sort())
  })

  it('returns 200 to one and 403 to the others of three uploads to the same name', async () => {
    const { statuses, contents } = await uploadAll(['a', 'a', 'a'])
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 403)).toHaveLength(2)
    expect(contents[0]).toBe(`${statuses.indexOf(200)}`.padStart(Bytes, '0'))
  })

  it('returns 500 for a session under another spelling of its path', async () => {
    const { url } = await scene()
    const client = new TestClient(new URL('name.txt', url))
    await client.create()
    const other = new TestClient(new URL('NAME.txt', url))
    other.sessionId = client.sessionId
    expect((await other.fragment(0, Buffer.from('evil'), 4)).status).toBe(500)
    expect((await other.cancel()).status).toBe(500)
    expect((await client.fragment(0, Buffer.from('good'), 4)).status).toBe(200)
  })
})

describe('File system change during an upload', () => {
  const file = Buffer.from('evil')

  it.each([false, true])(
    'returns 400 when the folder becomes a link out of the store, overwrite: %s',
    async (overwrite) => {
      const { land, url } = await scene({ overwrite })
      const client = new TestClient(new URL('folder/secret', url))
      expect((await client.create()).status).toBe(200)
      expect((await client.fragment(0, file.subarray(0, 2), 4)).status).toBe(200)
      await rename(join(land.root, 'folder'), join(land.root, 'moved'))
      await symlink('../outside', join(land.root, 'folder'))
      expect((await client.fragment(2, file.subarray(2), 4)).status).toBe(400)
      expect((await client.close()).status).toBe(200)
      expect(await readFile(join(land.outside, 'secret'), 'utf8')).toBe('untouched')
      expect(await sessionFiles(land.root)).toEqual([])
    },
  )

  it.each([false, true])(
    'returns 400 when the folder becomes a link to the session directory, overwrite: %s',
    async (overwrite) => {
      const { land, url } = await scene({ overwrite })
      const client = new TestClient(new URL('folder/x.json', url))
      expect((await client.create()).status).toBe(200)
      await rename(join(land.root, 'folder'), join(land.root, 'moved'))
      await symlink('.bits-sessions', join(land.root, 'folder'))
      expect((await client.fragment(0, file, 4)).status).toBe(400)
      expect((await client.close()).status).toBe(200)
      expect(await sessionFiles(land.root)).toEqual([])
    },
  )

  it('returns 403 when the destination becomes a link, and does not follow it', async () => {
    const { land, url } = await scene()
    const client = new TestClient(new URL('a', url))
    expect((await client.create()).status).toBe(200)
    await symlink('../outside/new', join(land.root, 'a'))
    expect((await client.fragment(0, file, 4)).status).toBe(403)
    expect((await client.close()).status).toBe(200)
    expect((await land.faults()).filter((fault) => !fault.startsWith('no file'))).toEqual([])
  })

  it.each(['secret', 'dangling', 'kept.bin'])(
    'replaces %s with overwrite, and no file outside the store',
    async (name) => {
      const { land, url } = await scene({ overwrite: true })
      const client = new TestClient(new URL(name, url))
      expect((await client.create()).status).toBe(200)
      expect((await client.fragment(0, file, 4)).status).toBe(200)
      expect(await readFile(join(land.root, name), 'utf8')).toBe('evil')
      expect(await readFile(join(land.outside, 'secret'), 'utf8')).toBe('untouched')
      expect((await land.faults()).filter((fault) => fault.includes('outside'))).toEqual([])
    },
  )

  it('returns 404 when the folder becomes a file', async () => {
    const { land, url } = await scene()
    const client = new TestClient(new URL('folder/deep/a', url))
    expect((await client.create()).status).toBe(200)
    await rename(join(land.root, 'folder', 'deep'), join(land.root, 'moved'))
    await writeFile(join(land.root, 'folder', 'deep'), '')
    expect((await client.fragment(0, file, 4)).status).toBe(404)
    expect((await client.cancel()).status).toBe(200)
    expect(await sessionFiles(land.root)).toEqual([])
  })
})
