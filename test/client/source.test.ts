import { execFile } from 'node:child_process'
import { constants } from 'node:fs'
import { open, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type OpenSource, openSource } from '../../lib/client/source.ts'
import { noise } from '../support/bytes.ts'
import { fileAndJob } from './setting.ts'

const file = noise(200_000)

async function onDisk(): Promise<{ path: string; source: OpenSource }> {
  const { path } = await fileAndJob(file)
  const source = await openSource(path)
  onTestFinished(() => source.close())
  return { path, source }
}

async function all(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = []
  // A chunk is valid until the next one is requested.
  for await (const chunk of chunks) list.push(Buffer.from(chunk))
  return Buffer.concat(list)
}

describe('file source', () => {
  it.skipIf(process.platform === 'win32')('rejects a FIFO with source-failed without waiting', async () => {
    const { directory } = await fileAndJob(file)
    const path = join(directory, 'pipe')
    await promisify(execFile)('mkfifo', [path])
    // Ends the wait of an openSource() that opens the FIFO in blocking mode, so that the test ends.
    onTestFinished(async () => (await open(path, constants.O_RDWR | constants.O_NONBLOCK)).close())
    await expect(openSource(path)).rejects.toMatchObject({ code: 'source-failed' })
  })

  it('reads any range in chunks of 64 KiB', async () => {
    const { source } = await onDisk()
    for (const [start, end] of [
      [0, 200_000],
      [1, 2],
      [65_535, 131_073],
      [199_999, 200_000],
      [5, 5],
    ] as const) {
      expect((await all(source.read(start, end))).equals(file.subarray(start, end))).toBe(true)
    }
    const lengths: number[] = []
    for await (const chunk of source.read(0, 200_000)) lengths.push(chunk.length)
    expect(lengths).toEqual([65_536, 65_536, 65_536, 200_000 - 3 * 65_536])
  })

  it('throws file-changed before the last chunk if the file changes during a read', async () => {
    const { path, source } = await onDisk()
    let read = 0
    const work = (async () => {
      for await (const chunk of source.read(0, 150_000)) {
        read += chunk.length
        await writeFile(path, 'x', { flag: 'r+' })
      }
    })()
    await expect(work).rejects.toMatchObject({ code: 'file-changed' })
    expect(read).toBe(131_072)
  })

  it('throws file-changed if only the mtime differs', async () => {
    const { path, source } = await onDisk()
    await all(source.read(0, 200_000))
    await utimes(path, 1, 1)
    for (const [start, end] of [
      [0, 200_000],
      [0, 1000],
      [5, 5],
    ] as const)
      await expect(source.read(start, end).next()).rejects.toMatchObject({ code: 'file-changed' })
  })

  it('throws file-changed before the first chunk of a small file that changed', async () => {
    const { path } = await fileAndJob(Buffer.from('old'))
    const source = await openSource(path)
    onTestFinished(() => source.close())
    expect((await all(source.read(0, 3))).toString()).toBe('old')
    await utimes(path, 1, 1)
    await expect(source.read(0, 3).next()).rejects.toMatchObject({ code: 'file-changed' })
  })

  it('reads a large range in chunks of 256 KiB, all of them in the same memory', async () => {
    const large = noise(5_000_000)
    const { path } = await fileAndJob(large)
    const source = await openSource(path)
    onTestFinished(() => source.close())
    const buffers = new Set<ArrayBufferLike>()
    for (const [start, end] of [
      [0, 2_500_000],
      [2_500_000, 5_000_000],
      [0, 100],
    ] as const) {
      const chunks: Uint8Array[] = []
      for await (const chunk of source.read(start, end)) {
        buffers.add(chunk.buffer)
        chunks.push(Buffer.from(chunk))
      }
      expect(chunks[0]?.length).toBe(Math.min(262_144, end - start))
      expect(Buffer.concat(chunks).equals(large.subarray(start, end))).toBe(true)
    }
    expect(buffers.size).toBe(1)
  })

  it('does not use the memory of a read that has not ended for another one', async () => {
    const { source } = await onDisk()
    const first = source.read(0, 150_000)
    const { value = new Uint8Array() } = await first.next()
    expect((await all(source.read(50_000, 200_000))).equals(file.subarray(50_000, 200_000))).toBe(true)
    expect(Buffer.from(value).equals(file.subarray(0, 65_536))).toBe(true)
    await first.return(undefined)
  })

  it('is identified by path, size and mtime in nanoseconds, and named after the file', async () => {
    const { path, source } = await onDisk()
    expect(source.identity).toEqual({ path, size: 200_000, mtime: expect.stringMatching(/^\d{18,}$/) })
    expect(source.name).toBe('a.bin')
  })
})

it('Memory source: is identified by its bytes', async () => {
  const identity = async (bytes: Uint8Array) => (await openSource(bytes)).identity
  expect(await identity(file)).toEqual(await identity(new Uint8Array(file)))
  expect(await identity(file)).not.toEqual(await identity(noise(200_000, 2)))
})

it("Caller's source: throws file-changed before the last chunk if its version changes", async () => {
  const source = {
    size: 4,
    version: '1',
    async *read() {
      yield Buffer.from('ab')
      source.version = '2'
      yield Buffer.from('cd')
    },
  }
  let read = ''
  const work = (async () => {
    for await (const chunk of (await openSource(source)).read(0, 4)) read += chunk
  })()
  await expect(work).rejects.toMatchObject({ code: 'file-changed' })
  expect(read).toBe('ab')
})

it("Caller's source: is identified by size and version, and has no identity without a version", async () => {
  const source = { size: 5, read: async function* () {} }
  expect((await openSource(source)).identity).toBeUndefined()
  expect((await openSource({ ...source, version: 'x' })).identity).toEqual({ size: 5, version: 'x' })
})
