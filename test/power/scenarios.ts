/** The suites of this folder: `power.system.test.ts` runs them in full, `power.test.ts` a sample of them. */
import { describe, expect, it } from 'vitest'
import { fileStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { body, loaded, newSession } from '../support/store.ts'
import {
  callsOf,
  file,
  fragmentSize,
  held,
  machine,
  type Progress,
  randomOf,
  replyOf,
  send,
} from './machine.ts'
import { SimulatedDisk } from './simulated-disk.ts'

/** How much of the suites runs. */
export interface Sample {
  /**
   * The machine stops at every n-th call of the file system. 1: at each call. At most 8, the number of calls
   * of the shortest test.
   */
  readonly every: number
  /**
   * How often it stops at one call, each time with another seed for what a loss of power leaves on the disk.
   */
  readonly seeds: number
}

interface Stop {
  readonly call: number
  readonly seed: number
  /** For messages of assertions. */
  readonly at: string
}

interface Failure {
  readonly title: 'the process crashes' | 'the power fails'
  readonly restart: (disk: SimulatedDisk, seed: number) => void
}

const failures: readonly Failure[] = [
  { title: 'the process crashes', restart: (disk) => disk.restart() },
  { title: 'the power fails', restart: (disk, seed) => disk.losePower(randomOf(seed)) },
]

interface Scene {
  readonly failure: Failure
  /** For titles: when the failure happens. */
  readonly when: string
  /**
   * The stops for a test with this many calls. The first stop differs from test to test, so that a sample
   * does not stop at the same calls in each.
   * @param most most seeds for one call
   */
  readonly stops: (calls: number, most?: number) => Iterable<Stop>
}

/** Declares the suites in which the machine stops at calls of the file system, with both kinds of failure. */
export function stopAtCalls({ every, seeds }: Sample): void {
  const which = every === 1 ? 'any call' : `every ${every}th call`
  let tests = 0

  const scenes = (): Scene[] =>
    failures.map((failure) => {
      const first = 1 + (tests % every)
      tests += 1
      return {
        failure,
        when: `${failure.title} at ${which}`,
        *stops(calls, most = seeds) {
          for (let call = first; call <= calls; call += every) {
            for (let seed = call; seed < call + 1000 * Math.min(seeds, most); seed += 1000) {
              yield { call, seed, at: `stopped at call ${call} of ${calls}, seed ${seed}` }
            }
          }
        },
      }
    })

  for (const durability of ['file', 'fragment'] as const) {
    for (const overwrite of [true, false])
      uploadSuite({ durability, overwrite, size: fragmentSize }, scenes())
  }
  for (const overwrite of [true, false]) {
    uploadSuite({ durability: 'file', overwrite, size: file.length }, scenes())
  }
  for (const overwrite of [true, false]) {
    for (const size of [fragmentSize, file.length]) {
      for (const consumer of ['moves', 'removes'] as const) {
        consumerSuite({ durability: 'file', overwrite, size }, consumer, scenes())
      }
    }
  }
  for (const scene of scenes()) compactionSuite(scene)
  for (const scene of scenes()) replySuite(scene)
  for (const scene of scenes()) createFoldersSuite(scene)
}

interface UploadCase {
  readonly durability: 'file' | 'fragment'
  readonly overwrite: boolean
  /** Bytes of a fragment. */
  readonly size: number
}

function uploadSuite({ durability, overwrite, size }: UploadCase, scenes: readonly Scene[]): void {
  describe(`File store with durability '${durability}', overwrite ${overwrite} and fragments of ${size} bytes`, () => {
    for (const { failure, when, stops } of scenes) {
      it(`shows no partial file and resumes the upload when ${when}`, async () => {
        const calls = await callsOf(durability, { size })
        expect(calls).toBeGreaterThan(size === fragmentSize ? 20 : 12)
        for (const { call, seed, at } of stops(calls)) {
          const { disk, client, restart } = await machine(durability, undefined, { overwrite })
          const uploader = client()
          const progress: Progress = { acked: 0, done: false }
          disk.stopAfter(call)
          await send(uploader, progress, size)
          const { acked, done } = progress
          failure.restart(disk, seed)
          await restart()

          const published = disk.files().get('/disk/a.bin')
          // The name never shows a part of the file, a hole or zeros. After the last Ack it shows the file.
          if (published || done) expect(published?.equals(file), at).toBe(true)
          const session = await held(disk, uploader.sessionId)
          if (session) {
            // The store holds all bytes before the offset that it reports.
            const { bytes, received } = session
            expect(bytes.subarray(0, received).equals(file.subarray(0, received)), at).toBe(true)
            if (!done && (durability === 'fragment' || failure.title === 'the process crashes')) {
              expect(received, at).toBeGreaterThanOrEqual(acked)
            }
          } else if (!done && acked > 0 && durability === 'fragment') {
            expect(published?.equals(file), at).toBe(true)
          }

          // The client resumes and completes the upload.
          await send(uploader, progress, size)
          // If its session is lost and its file is published, the name is taken.
          expect(progress.done || (published !== undefined && !overwrite), at).toBe(true)
          expect(disk.files().get('/disk/a.bin')?.equals(file), at).toBe(true)
        }
      })
    }
  })
}

function consumerSuite(
  { durability, overwrite, size }: UploadCase,
  consumer: 'moves' | 'removes',
  scenes: readonly Scene[],
): void {
  const title = `File store with overwrite ${overwrite} and fragments of ${size} bytes, whose consumer ${consumer} the file`
  describe(title, () => {
    for (const { failure, when, stops } of scenes) {
      it(`publishes ${failure.title === 'the process crashes' ? 'once' : 'and keeps the whole file'} when ${when}`, async () => {
        const calls = await callsOf(durability, { size })
        let taken = 0
        for (const { call, seed, at } of stops(calls)) {
          const { disk, client, restart } = await machine(durability, undefined, { overwrite })
          const uploader = client()
          const progress: Progress = { acked: 0, done: false }
          disk.stopAfter(call)
          await send(uploader, progress, size)
          if (progress.done) await uploader.close()
          disk.restart()
          const isTaken = disk.files().has('/disk/a.bin')
          if (isTaken) {
            taken += 1
            await (consumer === 'moves'
              ? disk.fileSystem.rename('/disk/a.bin', '/disk/moved')
              : disk.fileSystem.unlink('/disk/a.bin'))
          }
          failure.restart(disk, seed)
          await restart()
          if (!progress.done) await send(uploader, progress, size)
          await uploader.close()
          const moved = disk.files().get('/disk/moved')
          if (moved) expect(moved.equals(file), at).toBe(true)
          const published = disk.files().get('/disk/a.bin')
          if (published) expect(published.equals(file), at).toBe(true)
          // After a loss of power the file system may have forgotten what the consumer did.
          if (failure.title === 'the process crashes') expect(published === undefined, at).toBe(isTaken)
        }
        if (calls > 20) expect(taken).toBeGreaterThan(0)
      })
    }
  })
}

function compactionSuite({ failure, when, stops }: Scene): void {
  describe(`Session journal compaction when ${when}`, () => {
    it('keeps the acknowledged offset', async () => {
      // Together with the first entry and `total`, as many entries as a journal may have.
      const count = 998
      const prepare = async () => {
        const disk = new SimulatedDisk()
        const store = fileStore('/disk', { fileSystem: disk.fileSystem, durability: 'fragment' })
        let session = await store.create(newSession())
        const append = async (): Promise<void> => {
          session = await store.append(session, body('x'), { total: 2 * count, durable: false })
        }
        for (let i = 0; i < count; i += 1) await append()
        return { disk, id: session.id, append }
      }
      const complete = await prepare()
      const before = complete.disk.calls
      await complete.append()
      const calls = complete.disk.calls - before
      // The new journal is written, synced and renamed, and its name is synced, in addition to the calls of
      // each fragment.
      expect(calls).toBeGreaterThan(7)
      expect(complete.disk.files().get(`/disk/.bits-sessions/${complete.id}.json`)?.length).toBeLessThan(1000)
      // One seed, because the journal takes long to fill.
      for (const { call, seed, at } of stops(calls, 1)) {
        const { disk, id, append } = await prepare()
        disk.stopAfter(call)
        const isDone = await append().then(
          () => true,
          () => false,
        )
        failure.restart(disk, seed)
        const store = fileStore('/disk', { fileSystem: disk.fileSystem, durability: 'fragment' })
        const least = isDone ? count + 1 : count
        expect((await store.load(id))?.received, at).toBeGreaterThanOrEqual(least)
        await store.remove(await loaded(store, id))
      }
    })
  })
}

function replySuite({ failure, when, stops }: Scene): void {
  describe(`Upload-reply when ${when}`, () => {
    it('keeps the whole reply after the last Ack, and never a part of it', async () => {
      const reply = noise(2000, 2)
      const calls = await callsOf('file', { onUpload: () => reply })
      for (const { call, seed, at } of stops(calls)) {
        const { disk, client, restart } = await machine('file', () => reply)
        const uploader = client()
        const progress: Progress = { acked: 0, done: false }
        disk.stopAfter(call)
        await send(uploader, progress)
        const { done } = progress
        failure.restart(disk, seed)
        await restart()
        const stored = await replyOf(disk, uploader.sessionId)
        // Never a part of the reply, acknowledged or not. After the last Ack it exists.
        if (stored || done) expect(stored?.equals(reply), at).toBe(true)
        await send(uploader, progress)
        expect(progress.done, at).toBe(true)
        expect((await replyOf(disk, uploader.sessionId))?.equals(reply), at).toBe(true)
        expect(disk.files().get('/disk/a.bin')?.equals(file), at).toBe(true)
        await uploader.close()
        const left = [...disk.files().keys()].filter((path) => path.includes(uploader.sessionId))
        expect(left, at).toEqual([])
      }
    })
  })
}

function createFoldersSuite({ failure, when, stops }: Scene): void {
  describe(`Upload with createFolders when ${when}`, () => {
    it('keeps the folders and the file after the last Ack', async () => {
      const open = () => machine('file', undefined, { name: 'x/y/a.bin', createFolders: true })
      const complete = await open()
      await send(complete.client(), { acked: 0, done: false })
      for (const { call, seed, at } of stops(complete.disk.calls)) {
        const { disk, client, restart } = await open()
        const uploader = client()
        const progress: Progress = { acked: 0, done: false }
        disk.stopAfter(call)
        await send(uploader, progress)
        // First the process crashes, and the next process completes the upload. Then the failure of this
        // scene happens.
        if (!progress.done) {
          disk.restart()
          await restart()
          await send(uploader, progress)
        }
        expect(progress.done, at).toBe(true)
        failure.restart(disk, seed)
        expect(disk.files().get('/disk/x/y/a.bin')?.equals(file), at).toBe(true)
      }
    })
  })
}

/** Declares the tests of the option `durability`: the number of syncs, and what is lost without them. */
export function durabilityTests(): void {
  it.each([
    // The bytes, and the directory of the file.
    ['file', 2],
    // In addition, after each of four fragments its bytes and the journal, and once the session directory.
    ['fragment', 2 + 4 * 2 - 1 + 1],
    ['none', 0],
  ] as const)('Durability %s: makes %d syncs for a file of four fragments', async (durability, syncs) => {
    const { disk, client } = await machine(durability)
    // The first upload creates the directories.
    await send(client(), { acked: 0, done: false })
    const before = disk.syncs
    const uploader = client()
    await send(uploader, { acked: 0, done: false })
    await uploader.close()
    expect(disk.syncs - before).toBe(syncs)
    expect([...disk.files().keys()].filter((path) => path.includes(uploader.sessionId))).toEqual([])
  })

  it.each([
    // The reply, the session directory, the journal; then the file, as without a reply.
    ['file', 2 + 3],
    ['none', 0],
  ] as const)('Durability %s: makes %d syncs for a file with a reply', async (durability, syncs) => {
    const { disk, client } = await machine(durability, () => 'a reply')
    // The first upload creates the directories.
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
      /'durability' takes 'file', 'fragment' or 'none', not 'some'/,
    )
  })
}
