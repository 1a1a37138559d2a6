import express from 'express'
import { describe, expect, it } from 'vitest'
import { type BitsUploadOptions, bitsUpload, type Durability, fileStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received, TestClient } from '../support/client.ts'
import { serve } from '../support/server.ts'
import { body, loaded, newSession } from '../support/store.ts'
import { ForgetfulDisk, type Random } from './forgetful-disk.ts'

const file = noise(5000)
/** Bytes of a fragment, so that the file takes several. */
const piece = 1500

/** mulberry32: the same numbers for the same seed. */
function randomOf(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A server on a forgetful disk, that can be started anew. */
async function machine(
  durability: Durability,
  onUpload?: BitsUploadOptions['onUpload'],
  { name = 'a.bin', createFolders = false, overwrite = true } = {},
) {
  const disk = new ForgetfulDisk()
  const open = () =>
    bitsUpload({
      store: fileStore('/disk', { fileSystem: disk.fileSystem, durability, createFolders }),
      overwrite,
      sweepEvery: 0,
      ...(onUpload && { onUpload }),
    })
  let upload = open()
  const url = await serve(
    express().use('/upload', (request, response, next) => upload(request, response, next)),
  )
  return {
    disk,
    client: () => new TestClient(new URL(`upload/${name}`, url)),
    async restart() {
      await upload.close({ grace: 0 })
      upload = open()
    },
  }
}

interface Progress {
  /** What the client was promised last. */
  acked: number
  /** The client saw success for the last byte. */
  done: boolean
}

/** Sends the file from where the server wants it on, until it is there or the machine stops. */
async function send(client: TestClient, progress: Progress, size = piece): Promise<void> {
  let at = progress.acked
  for (let tries = 0; tries < 30 && !progress.done; tries += 1) {
    if (!client.sessionId) {
      if ((await client.create()).status !== 200) return
      at = 0
    }
    const end = Math.min(at + size, file.length)
    const answer = await client.fragment(at, file.subarray(at, end), file.length)
    if (hresult(answer) === '0x8020001F') {
      client.sessionId = ''
      progress.acked = 0
      continue
    }
    if (answer.status >= 500) return
    at = received(answer)
    progress.acked = at
    progress.done = answer.status === 200 && at === file.length
  }
}

/** The bytes that a file store holds of the session, and what it says of them. */
async function held(
  { fileSystem }: ForgetfulDisk,
  id: string,
): Promise<{ received: number; bytes: Buffer } | undefined> {
  const store = fileStore('/disk', { fileSystem })
  const session = await store.load(id)
  if (!session || session.state === 'published') return undefined
  const chunks: Uint8Array[] = []
  if (session.received > 0) for await (const chunk of store.read(session)) chunks.push(chunk)
  return { received: session.received, bytes: Buffer.concat(chunks) }
}

/** The reply that a file store keeps for the session. */
async function replyOf({ fileSystem }: ForgetfulDisk, id: string): Promise<Buffer | undefined> {
  const store = fileStore('/disk', { fileSystem })
  const session = await store.load(id)
  const kept = session?.acceptance?.reply === 'kept' ? await store.loadReply(session) : undefined
  if (!kept) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of kept.read(0, kept.size - 1)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** How many calls a whole upload makes. */
async function callsOf(
  durability: Durability,
  { onUpload, size = piece }: { onUpload?: BitsUploadOptions['onUpload']; size?: number } = {},
): Promise<number> {
  const { disk, client } = await machine(durability, onUpload)
  const progress = { acked: 0, done: false }
  const uploader = client()
  await send(uploader, progress, size)
  expect(progress.done).toBe(true)
  await uploader.close()
  // Of a file that comes in one fragment the one write is a sync, where the system has that.
  const isThrough = durability === 'file' && size === file.length && process.platform === 'linux'
  expect(disk.writesThrough).toBe(isThrough ? 1 : 0)
  return disk.calls
}

const strikes: [string, (disk: ForgetfulDisk, seed: number) => void][] = [
  ['the process dies', (disk) => disk.restart()],
  ['the power fails', (disk, seed) => disk.losePower(randomOf(seed))],
]

describe.each([
  { durability: 'file', overwrite: true, size: piece },
  { durability: 'file', overwrite: false, size: piece },
  { durability: 'fragment', overwrite: true, size: piece },
  { durability: 'fragment', overwrite: false, size: piece },
  { durability: 'file', overwrite: true, size: file.length },
  { durability: 'file', overwrite: false, size: file.length },
] as const)(
  'File store with durability $durability, overwrite $overwrite and fragments of $size bytes',
  ({ durability, overwrite, size }) => {
    it.each(strikes)(
      'shows no partial file and resumes the upload when %s at any call',
      async (_, strike) => {
        const calls = await callsOf(durability, { size })
        expect(calls).toBeGreaterThan(size === piece ? 20 : 12)
        for (let stop = 1; stop <= calls; stop += 1) {
          for (let seed = stop; seed < stop + 6000; seed += 1000) {
            const at = `stopped at call ${stop} of ${calls}, seed ${seed}`
            const { disk, client, restart } = await machine(durability, undefined, { overwrite })
            const uploader = client()
            const progress: Progress = { acked: 0, done: false }
            disk.stopAfter(stop)
            await send(uploader, progress, size)
            const { acked, done } = progress
            strike(disk, seed)
            await restart()

            const whole = disk.files().get('/disk/a.bin')
            // Never a part, a hole or zeros under the name; and after the last Ack, the file.
            if (whole || done) expect(whole?.equals(file), at).toBe(true)
            const session = await held(disk, uploader.sessionId)
            if (session) {
              // What it says it has, it has.
              expect(
                session.bytes.subarray(0, session.received).equals(file.subarray(0, session.received)),
                at,
              ).toBe(true)
              if (!done && (durability === 'fragment' || _ === 'the process dies')) {
                expect(session.received, at).toBeGreaterThanOrEqual(acked)
              }
            } else if (!done && acked > 0 && durability === 'fragment') {
              expect(whole?.equals(file), at).toBe(true)
            }

            // The client goes on and brings it to its end.
            await send(uploader, progress, size)
            // Its session is lost and its file is there: then the name is taken.
            expect(progress.done || (whole !== undefined && !overwrite), at).toBe(true)
            expect(disk.files().get('/disk/a.bin')?.equals(file), at).toBe(true)
          }
        }
      },
    )
  },
)

describe.each(strikes)('Session journal compaction when %s at any call', (_, strike) => {
  it('keeps the acknowledged offset', async () => {
    // With the two facts from the beginning, all that a record may have.
    const many = 998
    const begun = async () => {
      const disk = new ForgetfulDisk()
      const store = fileStore('/disk', { fileSystem: disk.fileSystem, durability: 'fragment' })
      let session = await store.create(newSession())
      const append = async (): Promise<void> => {
        session = await store.append(session, body('x'), { total: 2 * many, durable: false })
      }
      for (let count = 0; count < many; count += 1) await append()
      return { disk, id: session.id, append }
    }
    const whole = await begun()
    const before = whole.disk.calls
    await whole.append()
    const calls = whole.disk.calls - before
    // Written, synced and renamed, and its name synced, beside what each fragment takes.
    expect(calls).toBeGreaterThan(7)
    expect(whole.disk.files().get(`/disk/.bits-sessions/${whole.id}.json`)?.length).toBeLessThan(1000)
    for (let stop = 1; stop <= calls; stop += 1) {
      const { disk, id, append } = await begun()
      disk.stopAfter(stop)
      const isDone = await append().then(
        () => true,
        () => false,
      )
      strike(disk, stop)
      const store = fileStore('/disk', { fileSystem: disk.fileSystem, durability: 'fragment' })
      expect((await store.load(id))?.received, `stopped at call ${stop}`).toBeGreaterThanOrEqual(
        isDone ? many + 1 : many,
      )
      await store.remove(await loaded(store, id))
    }
  })
})

describe.each(strikes)('Upload-reply when %s at any call', (_, strike) => {
  it('keeps the whole reply after the last Ack, and never a part of it', async () => {
    const reply = noise(2000, 2)
    const calls = await callsOf('file', { onUpload: () => reply })
    for (let stop = 1; stop <= calls; stop += 1) {
      for (let seed = stop; seed < stop + 6000; seed += 1000) {
        const at = `stopped at call ${stop} of ${calls}, seed ${seed}`
        const { disk, client, restart } = await machine('file', () => reply)
        const uploader = client()
        const progress: Progress = { acked: 0, done: false }
        disk.stopAfter(stop)
        await send(uploader, progress)
        const { done } = progress
        strike(disk, seed)
        await restart()
        const kept = await replyOf(disk, uploader.sessionId)
        // Never a part of it, whether it was promised or not; and after the last Ack it is there.
        if (kept || done) expect(kept?.equals(reply), at).toBe(true)
        await send(uploader, progress)
        expect(progress.done, at).toBe(true)
        expect((await replyOf(disk, uploader.sessionId))?.equals(reply), at).toBe(true)
        expect(disk.files().get('/disk/a.bin')?.equals(file), at).toBe(true)
        await uploader.close()
        const left = [...disk.files().keys()].filter((path) => path.includes(uploader.sessionId))
        expect(left, at).toEqual([])
      }
    }
  })
})

describe.each(strikes)('Upload with createFolders when %s at any call', (_, strike) => {
  it('keeps the folders and the file after the last Ack', async () => {
    const scene = { name: 'x/y/a.bin', createFolders: true }
    const begin = () => machine('file', undefined, scene)
    const whole = await begin()
    await send(whole.client(), { acked: 0, done: false })
    for (let stop = 1; stop <= whole.disk.calls; stop += 1) {
      for (let seed = stop; seed < stop + 6000; seed += 1000) {
        const at = `stopped at call ${stop} of ${whole.disk.calls}, seed ${seed}`
        const { disk, client, restart } = await begin()
        const uploader = client()
        const progress: Progress = { acked: 0, done: false }
        disk.stopAfter(stop)
        await send(uploader, progress)
        // First the process dies, and what it did not come to is done by the next; then the power fails.
        if (!progress.done) {
          disk.restart()
          await restart()
          await send(uploader, progress)
        }
        expect(progress.done, at).toBe(true)
        strike(disk, seed)
        expect(disk.files().get('/disk/x/y/a.bin')?.equals(file), at).toBe(true)
      }
    }
  })
})

it.each([
  // The bytes, and the name.
  ['file', 2],
  // And after each of four fragments its bytes and the record, once their names.
  ['fragment', 2 + 4 * 2 - 1 + 1],
  ['none', 0],
] as const)('Durability %s: makes %d syncs for a file of four fragments', async (durability, syncs) => {
  const { disk, client } = await machine(durability)
  // The first makes the directories.
  await send(client(), { acked: 0, done: false })
  const before = disk.syncs
  const uploader = client()
  await send(uploader, { acked: 0, done: false })
  await uploader.close()
  expect(disk.syncs - before).toBe(syncs)
  expect([...disk.files().keys()].filter((path) => path.includes(uploader.sessionId))).toEqual([])
})

it.each([
  // The reply, the names, the record; then the file, as without.
  ['file', 2 + 3],
  ['none', 0],
] as const)('Durability %s: makes %d syncs for a file with a reply', async (durability, syncs) => {
  const { disk, client } = await machine(durability, () => 'a reply')
  // The first makes the directories.
  const first = client()
  await send(first, { acked: 0, done: false })
  await first.close()
  const before = disk.syncs
  const uploader = client()
  await send(uploader, { acked: 0, done: false })
  await uploader.close()
  expect(disk.syncs - before).toBe(syncs)
  expect([...disk.files().keys()]).toEqual(['/disk/a.bin'])
})

it('Durability none: loses published files when the power fails', async () => {
  let lost = 0
  for (let seed = 1; seed <= 20; seed += 1) {
    const { disk, client } = await machine('none')
    const progress = { acked: 0, done: false }
    await send(client(), progress)
    expect(progress.done).toBe(true)
    disk.losePower(randomOf(seed))
    if (!disk.files().get('/disk/a.bin')?.equals(file)) lost += 1
  }
  expect(lost).toBeGreaterThan(0)
})

it('fileStore: throws for an unknown durability', () => {
  expect(() => fileStore('/disk', { durability: 'some' as 'none' })).toThrow(
    /durability is 'file', 'fragment' or 'none'/,
  )
})
