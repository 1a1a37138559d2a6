import { afterEach, expect, it, vi } from 'vitest'
import { DirectorySyncer } from '../../../lib/stores/file/directory-sync.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { withResolvers } from '../../support/promise.ts'

/** Syncs that end when the test says so; each tells in which order it began. */
function heldSyncs() {
  const begun: { readonly path: string; end(error?: Error): void }[] = []
  const paths = ['']
  const closed: number[] = []
  const syncs = new DirectorySyncer({
    ...nodeFileSystem,
    open: async (path) => paths.push(path) - 1,
    close: async (fd) => void closed.push(fd),
    fsync: (fd) => {
      const { promise, resolve, reject } = withResolvers<void>()
      begun.push({ path: paths[fd] ?? '', end: (error) => (error ? reject(error) : resolve()) })
      return promise
    },
  })
  return { syncs, begun, paths, closed }
}

afterEach(() => void vi.useRealTimers())

const soon = (): Promise<void> => new Promise(setImmediate)

/** Writes down who is served, or hears of an error. */
const noting = (log: string[], name: string, sync: Promise<void>): void =>
  void sync.then(
    () => log.push(name),
    ({ message }) => log.push(`${name}: ${message}`),
  )

it('Directory syncer: runs one shared sync for all calls that arrive during a sync', async () => {
  const { syncs, begun } = heldSyncs()
  const log: string[] = []
  for (const name of ['a', 'b', 'c']) noting(log, name, syncs.sync('/x'))
  await soon()
  expect([begun.length, log]).toEqual([1, []])
  begun[0]?.end()
  await soon()
  expect([begun.length, log]).toEqual([2, ['a']])
  // What it has to sync was done after the second began.
  noting(log, 'd', syncs.sync('/x'))
  begun[1]?.end()
  await soon()
  expect([begun.length, log]).toEqual([3, ['a', 'b', 'c']])
  begun[2]?.end()
  await soon()
  expect(log).toEqual(['a', 'b', 'c', 'd'])
  noting(log, 'e', syncs.sync('/x'))
  await soon()
  expect(begun.length).toBe(4)
})

it('Directory syncer: syncs different directories independently', async () => {
  const { syncs, begun } = heldSyncs()
  const log: string[] = []
  noting(log, 'x', syncs.sync('/x'))
  noting(log, 'y', syncs.sync('/y'))
  await soon()
  expect(begun.map(({ path }) => path)).toEqual(['/x', '/y'])
  begun[1]?.end()
  await soon()
  expect(log).toEqual(['y'])
})

it('Directory syncer: a failed sync rejects the running and waiting calls, but no later call', async () => {
  const { syncs, begun } = heldSyncs()
  const log: string[] = []
  for (const name of ['a', 'b', 'c']) noting(log, name, syncs.sync('/x'))
  await soon()
  begun[0]?.end(new Error('EIO'))
  await soon()
  expect(log).toEqual(['a: EIO', 'b: EIO', 'c: EIO'])
  for (const name of ['d', 'e']) noting(log, name, syncs.sync('/x'))
  await soon()
  begun[1]?.end()
  await soon()
  begun[2]?.end()
  await soon()
  expect(log.slice(3)).toEqual(['d', 'e'])
})

it('Directory syncer: opens a directory once for consecutive syncs, then closes it', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { syncs, begun, paths, closed } = heldSyncs()
  const all = ['a', 'b', 'c'].map(() => syncs.sync('/x'))
  await soon()
  begun[0]?.end()
  await soon()
  all.push(syncs.sync('/x'))
  expect(closed).toEqual([])
  begun[1]?.end()
  await soon()
  begun[2]?.end()
  await Promise.all(all)
  expect([paths, closed]).toEqual([['', '/x'], [1]])
  void syncs.sync('/x')
  await soon()
  expect(paths).toEqual(['', '/x', '/x'])
})

it('Directory syncer: opens a directory again after 10 ms, because it may have been replaced', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { syncs, begun, paths, closed } = heldSyncs()
  const all = [syncs.sync('/x'), syncs.sync('/x')]
  await soon()
  vi.advanceTimersByTime(10)
  begun[0]?.end()
  await soon()
  begun[1]?.end()
  await Promise.all(all)
  expect([paths, closed]).toEqual([
    ['', '/x', '/x'],
    [1, 2],
  ])
})

it('Directory syncer: closes the directory when a sync fails, even if another call waits', async () => {
  const { syncs, begun, closed } = heldSyncs()
  const all = Promise.allSettled([syncs.sync('/x'), syncs.sync('/x')])
  await soon()
  begun[0]?.end(new Error('EIO'))
  await all
  expect(closed).toEqual([1])
})

it('Directory syncer: never runs two syncs of a directory at once', async () => {
  const { syncs, begun, paths, closed } = heldSyncs()
  const all = [syncs.sync('/x'), syncs.sync('/x')]
  await soon()
  begun[0]?.end()
  // At every moment between the end of the one and the beginning of the next.
  for (let i = 0; i < 20; i += 1) {
    await undefined
    all.push(syncs.sync('/x'))
  }
  await soon()
  expect(begun.length).toBe(2)
  begun[1]?.end()
  await soon()
  expect(begun.length).toBe(3)
  begun[2]?.end()
  await Promise.all(all)
  expect(closed.length).toBe(paths.length - 1)
})
