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

/** The real file system, one of whose calls fails while it is told to. */
function sickDisk(call: keyof FileSystem, code: string) {
  const disk = { sick: false }
  const fail = () => Promise.reject(Object.assign(new Error(`${code}: made by the test`), { code }))
  const healthy = nodeFileSystem[call] as (...args: unknown[]) => unknown
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    [call]: (...args: unknown[]) => (disk.sick ? fail() : healthy(...args)),
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
/** Calls that need no space: their errors are never reported as a full disk. */
const reads = new Set<string>(['readFile', 'stat', 'lstat'])
const codes = ['EIO', 'EMFILE', 'EROFS', 'EACCES', 'ENOSPC'] as const

describe.each(codes)('File store on a disk that fails with %s', (code) => {
  it.each(calls)(
    'returns 500 and the true offset when %s fails, and completes the upload afterwards',
    async (call) => {
      const directory = await temporaryDirectory()
      const { disk, fileSystem } = sickDisk(call, code)
      const store = fileStore(directory, { fileSystem })
      const { upload, url } = await uploadServer({ store, sweepEvery: 0 })
      let failures = 0
      upload.events.on('failed', () => {
        failures += 1
      })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      await client.fragment(0, file.subarray(0, 1000), file.length)

      // Else the session is still known, and not read anew.
      if (call === 'readFile' || call === 'stat') store.locker?.letGo?.()
      if (call === 'fstat') later()
      disk.sick = true
      const begun = await new TestClient(new URL('b.bin', url)).create()
      const answer = await client.fragment(1000, file.subarray(1000), file.length)
      // Not every call belongs to every packet; but where one fails, the client is asked to come back.
      for (const { status, headers } of [begun, answer]) {
        if (status === 200) continue
        expect(status).toBe(500)
        const hresult = code === 'ENOSPC' && !reads.has(call) ? '0x80070070' : undefined
        expect([headers['bits-error-code'], headers['bits-error']]).toEqual([hresult, hresult])
      }
      expect(begun.status === 500 || answer.status === 500).toBe(true)
      expect(failures).toBeGreaterThan(0)
      disk.sick = false

      // From where it was, or from where it was told: what was not synced may be lost once a sync failed.
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
    // On Linux its one write is the sync.
    { durability: 'file', first: 0, from: 0 },
  ] as const)(
    'makes the client send again from offset $from (durability $durability, $first bytes before)',
    async ({ durability, first, from }) => {
      const directory = await temporaryDirectory()
      let isSick = false
      const fail = (): never => {
        isSick = false
        throw Object.assign(new Error('EIO'), { code: 'EIO' })
      }
      const syncing = new Set<number>()
      let written = 0
      const fileSystem: FileSystem = {
        ...nodeFileSystem,
        async open(path, flags) {
          const fd = await nodeFileSystem.open(path, flags)
          if (typeof flags === 'number' && flags & constants.O_DSYNC) syncing.add(fd)
          else syncing.delete(fd)
          return fd
        },
        async writev(fd, buffers, position) {
          const count = await nodeFileSystem.writev(fd, buffers, position)
          written += count
          return isSick && syncing.has(fd) ? fail() : count
        },
        fdatasync: (fd) => (isSick ? Promise.resolve().then(fail) : nodeFileSystem.fdatasync(fd)),
      }
      const { url } = await uploadServer({ store: fileStore(directory, { fileSystem, durability }) })
      const client = new TestClient(new URL('a.bin', url))
      await client.create()
      if (first > 0) await client.fragment(0, file.subarray(0, first), file.length)
      isSick = true
      const answer = await client.fragment(first, file.subarray(first), file.length)
      expect([answer.status, received(answer), isSick]).toEqual([500, from, false])
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
