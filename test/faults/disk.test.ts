import { constants, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type FileSystem, fileStore } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { later } from '../support/later.ts'
import { uploadServer } from '../support/server.ts'

const file = noise(3000)

/** The real file system. One of its calls fails while `disk.isFailing` is set. */
function failingDisk(call: keyof FileSystem, code: string) {
  const disk = { isFailing: false }
  const fail = () => Promise.reject(Object.assign(new Error(`${code}: thrown by the test`), { code }))
  const working = nodeFileSystem[call] as (...args: unknown[]) => unknown
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    [call]: (...args: unknown[]) => (disk.isFailing ? fail() : working(...args)),
  }
  return { disk, fileSystem }
}

const calls = [
  'open',
  'writev',
  'write',
  'fdatasync',
  'fsync',
  'fstat',
  'readFile',
  'stat',
  'lstat',
  'link',
] as const
/** Calls that need no space. */
const reads = new Set<string>(['readFile', 'stat', 'lstat'])
const codes = ['EIO', 'EMFILE', 'EROFS', 'EACCES', 'ENOSPC'] as const

describe.each(codes)('File store on a disk that fails with %s', (code) => {
  it.each(calls.filter((call) => code !== 'ENOSPC' || !reads.has(call)))(
    'returns 500 and the true offset when %s fails, and completes the upload afterwards',
    async (call) => {
      const directory = await temporaryDirectory()
      const { disk, fileSystem } = failingDisk(call, code)
      const store = fileStore(directory, { fileSystem })
      const { upload, url } = await uploadServer({ store, sweepEvery: 0 })
      let failures = 0
      upload.events.on('failed', () => {
        failures += 1
      })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      await client.fragment(0, file.subarray(0, 1000), file.length)

      // Otherwise the session is cached and not loaded again.
      if (call === 'readFile' || call === 'stat') later(1001)
      if (call === 'fstat') later()
      disk.isFailing = true
      const created = await new TestClient(new URL('b.bin', url)).create()
      const answer = await client.fragment(1000, file.subarray(1000), file.length)
      // Not every packet makes every call. A packet whose call fails is answered with a temporary error.
      for (const { status, headers } of [created, answer]) {
        if (status === 200) continue
        expect(status).toBe(500)
        const hresult = code === 'ENOSPC' ? '0x80070070' : undefined
        expect([headers['bits-error-code'], headers['bits-error']]).toEqual([hresult, hresult])
      }
      expect(created.status === 500 || answer.status === 500).toBe(true)
      expect(failures).toBeGreaterThan(0)
      disk.isFailing = false

      // The client resumes at the offset of the answer, or at its own: a failed sync may have lost unsynced
      // bytes.
      const from = Number.isNaN(received(answer)) ? 1000 : received(answer)
      if (call === 'fdatasync') expect(from).toBe(0)
      else expect(from).toBeGreaterThanOrEqual(1000)
      if (from < file.length) {
        const rest = await client.fragment(from, file.subarray(from), file.length)
        expect([rest.status, received(rest)]).toEqual([200, file.length])
      } else {
        expect((await client.fragment(1000, file.subarray(1000), file.length)).status).toBe(200)
      }
      expect((await client.close()).status).toBe(200)
      expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    },
  )
})

describe('Sync that fails once and then succeeds', () => {
  it.each([
    { durability: 'file', first: 1000, from: 0 },
    { durability: 'fragment', first: 1000, from: 1000 },
    // On Linux the only write of the file is also its sync.
    { durability: 'file', first: 0, from: 0 },
  ] as const)(
    'makes the client send again from offset $from (durability $durability, $first bytes before)',
    async ({ durability, first, from }) => {
      const directory = await temporaryDirectory()
      let failsOnce = false
      const fail = (): never => {
        failsOnce = false
        throw Object.assign(new Error('EIO'), { code: 'EIO' })
      }
      const syncedDescriptors = new Set<number>()
      let written = 0
      const fileSystem: FileSystem = {
        ...nodeFileSystem,
        async open(path, flags) {
          const fd = await nodeFileSystem.open(path, flags)
          if (typeof flags === 'number' && flags & constants.O_DSYNC) syncedDescriptors.add(fd)
          else syncedDescriptors.delete(fd)
          return fd
        },
        async writev(fd, buffers, position) {
          const count = await nodeFileSystem.writev(fd, buffers, position)
          written += count
          return failsOnce && syncedDescriptors.has(fd) ? fail() : count
        },
        fdatasync: (fd) => (failsOnce ? Promise.resolve().then(fail) : nodeFileSystem.fdatasync(fd)),
      }
      const { url } = await uploadServer({ store: fileStore(directory, { fileSystem, durability }) })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      if (first > 0) await client.fragment(0, file.subarray(0, first), file.length)
      failsOnce = true
      const answer = await client.fragment(first, file.subarray(first), file.length)
      expect([answer.status, received(answer), failsOnce]).toEqual([500, from, false])
      written = 0
      const rest = await client.fragment(from, file.subarray(from), file.length)
      expect([rest.status, received(rest), written]).toEqual([200, file.length, file.length - from])
      expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    },
  )
})

it('File store: accepts new uploads after its directory was deleted, without a restart', async () => {
  const { url, directory } = await uploadServer()
  const client = new TestClient(new URL('a.bin', url))
  await client.create()
  await client.fragment(0, file.subarray(0, 1000), file.length)
  await rm(directory, { recursive: true })
  const answer = await client.fragment(1000, file.subarray(1000), file.length)
  expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
  expect((await client.create()).status).toBe(200)
  expect((await client.fragment(0, file, file.length)).status).toBe(200)
  expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
})
