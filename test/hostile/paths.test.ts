/**
 * Names known from path attacks, byte for byte in the request line: each is rejected with an Ack, and nothing
 * is created.
 */

import { readFile, rename, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type BitsUploadOptions, bitsUpload } from '../../lib/index.ts'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { TestClient } from '../support/client.ts'
import { serve } from '../support/server.ts'
import { sessionFiles } from '../wire/disk.ts'
import { type GuardedDirectory, guardedDirectory } from './guarded-directory.ts'
import { faultOfAck, isAck } from './is-ack.ts'
import { badPaths, badSegments, badTargets, devices, unresolvablePaths } from './names.ts'
import { type RawAnswer, request } from './raw.ts'

interface Fixture {
  readonly directory: GuardedDirectory
  readonly url: URL
  readonly port: number
  /** Sends Create-Session with this request target, not normalized. */
  readonly create: (target: string) => Promise<RawAnswer>
}

async function startServer(options: Partial<BitsUploadOptions> = {}): Promise<Fixture> {
  const directory = await guardedDirectory()
  const upload = bitsUpload({ store: directory.root, sweepEvery: 0, ...options })
  onTestFinished(() => upload.close({ grace: 0 }))
  const url = new URL('upload/', await serve(express().use('/upload', upload)))
  const port = Number(url.port)
  const create = (target: string) => request(port, packet('Create-Session', target))
  return { directory, url, port, create }
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

/**
 * Whether Node's parser may refuse a target without an Ack: it accepts no raw UTF-8, and a blank ends a
 * target.
 */
const mayBeRefusedByNode = (target: string): boolean => /[^!-~]/.test(target)

/** @returns why an answer is not a valid refusal; undefined if it is one */
function checkRefusal(answer: RawAnswer, target: string): string | undefined {
  const { status } = answer
  if (status === 400 && !isAck(answer) && mayBeRefusedByNode(target)) return undefined
  if (![400, 403, 404].includes(status)) return `answered ${status}`
  return isAck(answer) ? faultOfAck(answer) : 'no Ack'
}

/** Sends Create-Session for each target. Expects refusals and no new files. */
async function expectRefused({ directory, create, url }: Fixture, targets: readonly string[]): Promise<void> {
  const client = new TestClient(new URL('live.bin', url))
  expect((await client.create()).status).toBe(200)
  const files = await sessionFiles(directory.root)
  const faults: [target: string, fault: string][] = []
  for (const each of targets) {
    const target = each.replaceAll('$ID', client.sessionId)
    const fault = checkRefusal(await create(target), target)
    if (fault) faults.push([target.slice(0, 200), fault])
  }
  expect(faults).toEqual([])
  expect(await sessionFiles(directory.root)).toEqual(files)
  expect(await directory.published()).toEqual([])
  expect(await directory.violations()).toEqual([])
  expect((await client.close()).status).toBe(200)
}

const targetOf = (path: string): string => `/upload/${path}`

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
      await expectRefused(await startServer(options), targets.map(targetOf))
    })

    it('rejects invalid paths', async () => {
      // With overwrite a file, or a link to a file, may be replaced. A test below covers that.
      const mayBeReplaced = ['kept.bin', 'secret', 'dangling']
      const paths = badPaths.filter((path) => !options.overwrite || !mayBeReplaced.includes(path))
      await expectRefused(await startServer(options), paths.map(targetOf))
    })

    it('rejects invalid paths and segments in absolute form', async () => {
      const targets = [...badPaths, ...badSegments].filter(
        (path) => !['kept.bin', 'secret', 'dangling'].includes(path),
      )
      await expectRefused(
        await startServer(options),
        targets.map((path) => `http://files.example${targetOf(path)}`),
      )
    })
  },
)

it.each(unresolvablePaths)('File name: rejects the path $0, which cannot be resolved', async (path) => {
  await expectRefused(await startServer(), [targetOf(path)])
})

it('Request target: rejects a target without a valid name after the mount path', async () => {
  await expectRefused(await startServer(), badTargets)
})

it('File name: rejects the session directory before it exists', async () => {
  const { directory, create } = await startServer()
  for (const path of ['.bits-sessions', '%2ebits-sessions', '.bits-sessions/a', 'hole', 'hole/a']) {
    expect([path, checkRefusal(await create(targetOf(path)), path)]).toEqual([path, undefined])
  }
  expect(await directory.violations()).toEqual([])
  expect(await sessionFiles(directory.root)).toEqual([])
})

it('onCreate: rejects an invalid name that the hook returns', async () => {
  let name = ''
  const { directory, create } = await startServer({ onCreate: () => ({ name }) })
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
    expect([name, checkRefusal(await create('/upload/a'), '')]).toEqual([name, undefined])
  }
  expect(await directory.violations()).toEqual([])
  expect(await sessionFiles(directory.root)).toEqual([])
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
    const { directory, port, create } = await startServer()
    const created = await create(targetOf(target))
    expect(created.status).toBe(200)
    const id = `BITS-Session-Id: ${created.headers['bits-session-id']}`
    const fields = [id, 'Content-Range: bytes 0-3/4']
    const head = packet('Fragment', targetOf(target), fields).replace(
      'Content-Length: 0',
      'Content-Length: 4',
    )
    expect((await request(port, head, 'good')).status).toBe(200)
    expect((await request(port, packet('Close-Session', targetOf(target), [id]))).status).toBe(200)
    expect(await directory.published()).toEqual([name])
    expect(await readFile(join(directory.root, name), 'utf8')).toBe('good')
    expect(await sessionFiles(directory.root)).toEqual([])
    expect(await directory.violations()).toEqual([])
  })
})

describe('File name comparison', () => {
  const Bytes = 4

  /** Uploads to all names at once, each with its own bytes, and reads the published files. */
  async function uploadAll(names: readonly string[], options: Partial<BitsUploadOptions> = {}) {
    const { directory, url } = await startServer(options)
    const clients = names.map((name) => new TestClient(new URL(encodeURIComponent(name), url)))
    const statuses = await Promise.all(
      clients.map(async (client, i) => {
        expect((await client.create()).status).toBe(200)
        const { status } = await client.fragment(0, Buffer.from(`${i}`.padStart(Bytes, '0')), Bytes)
        expect((await client.close()).status).toBe(200)
        return status
      }),
    )
    const contents = await Promise.all(names.map((name) => readFile(join(directory.root, name), 'utf8')))
    return { directory, statuses, contents }
  }

  const similarNames = [
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
    const { statuses, contents, directory } = await uploadAll(similarNames)
    expect(statuses).toEqual(similarNames.map(() => 200))
    expect(contents).toEqual(similarNames.map((_, i) => `${i}`.padStart(Bytes, '0')))
    expect(await directory.published()).toEqual([...similarNames].sort())
  })

  it('returns 200 to one and 403 to the others of three uploads to the same name', async () => {
    const { statuses, contents } = await uploadAll(['a', 'a', 'a'])
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 403)).toHaveLength(2)
    expect(contents[0]).toBe(`${statuses.indexOf(200)}`.padStart(Bytes, '0'))
  })

  it('returns 500 for a session under another spelling of its path', async () => {
    const { url } = await startServer()
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
      const { directory, url } = await startServer({ overwrite })
      const client = new TestClient(new URL('folder/secret', url))
      expect((await client.create()).status).toBe(200)
      expect((await client.fragment(0, file.subarray(0, 2), 4)).status).toBe(200)
      await rename(join(directory.root, 'folder'), join(directory.root, 'moved'))
      await symlink('../outside', join(directory.root, 'folder'))
      expect((await client.fragment(2, file.subarray(2), 4)).status).toBe(400)
      expect((await client.close()).status).toBe(200)
      expect(await readFile(join(directory.outside, 'secret'), 'utf8')).toBe('untouched')
      expect(await sessionFiles(directory.root)).toEqual([])
    },
  )

  it.each([false, true])(
    'returns 400 when the folder becomes a link to the session directory, overwrite: %s',
    async (overwrite) => {
      const { directory, url } = await startServer({ overwrite })
      const client = new TestClient(new URL('folder/x.json', url))
      expect((await client.create()).status).toBe(200)
      await rename(join(directory.root, 'folder'), join(directory.root, 'moved'))
      await symlink('.bits-sessions', join(directory.root, 'folder'))
      expect((await client.fragment(0, file, 4)).status).toBe(400)
      expect((await client.close()).status).toBe(200)
      expect(await sessionFiles(directory.root)).toEqual([])
    },
  )

  it('returns 403 when the destination becomes a link, and does not follow it', async () => {
    const { directory, url } = await startServer()
    const client = new TestClient(new URL('a', url))
    expect((await client.create()).status).toBe(200)
    await symlink('../outside/new', join(directory.root, 'a'))
    expect((await client.fragment(0, file, 4)).status).toBe(403)
    expect((await client.close()).status).toBe(200)
    expect((await directory.violations()).filter((fault) => !fault.startsWith('not a file'))).toEqual([])
  })

  it.each(['secret', 'dangling', 'kept.bin'])(
    'replaces %s with overwrite, and no file outside the store',
    async (name) => {
      const { directory, url } = await startServer({ overwrite: true })
      const client = new TestClient(new URL(name, url))
      expect((await client.create()).status).toBe(200)
      expect((await client.fragment(0, file, 4)).status).toBe(200)
      expect(await readFile(join(directory.root, name), 'utf8')).toBe('evil')
      expect(await readFile(join(directory.outside, 'secret'), 'utf8')).toBe('untouched')
      expect((await directory.violations()).filter((fault) => fault.includes('outside'))).toEqual([])
    },
  )

  it('returns 404 when the folder becomes a file', async () => {
    const { directory, url } = await startServer()
    const client = new TestClient(new URL('folder/deep/a', url))
    expect((await client.create()).status).toBe(200)
    await rename(join(directory.root, 'folder', 'deep'), join(directory.root, 'moved'))
    await writeFile(join(directory.root, 'folder', 'deep'), '')
    expect((await client.fragment(0, file, 4)).status).toBe(404)
    expect((await client.cancel()).status).toBe(200)
    expect(await sessionFiles(directory.root)).toEqual([])
  })
})
