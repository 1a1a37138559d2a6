import { afterEach, expect, it, vi } from 'vitest'
import { DirectorySyncer } from '../../../lib/stores/file/directory-sync.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { withResolvers } from '../../support/promise.ts'

/**
 * A syncer whose syncs end when the test calls `end`. `started` has them in the order in which they started.
 */
function manualSyncs() {
  const started: { readonly path: string; end(error?: Error): void }[] = []
  const paths = ['']
  const closed: number[] = []
  const syncs = new DirectorySyncer({
    ...nodeFileSystem,
    open: async (path) => paths.push(path) - 1,
    close: async (fd) => void closed.push(fd),
    fsync: (fd) => {
      const { promise, resolve, reject } = withResolvers<void>()
      started.push({ path: paths[fd] ?? '', end: (error) => (error ? reject(error) : resolve()) })
      return promise
    },
  })
  return { syncs, started, paths, closed }
}

afterEach(() => void vi.useRealTimers())

const nextTurn = (): Promise<void> => new Promise(setImmediate)

/** Logs the name when the sync resolves, or with the message when it rejects. */
const logResult = (log: string[], name: string, sync: Promise<void>): void =>
  void sync.then(
    () => log.push(name),
    ({ message }) => log.push(`${name}: ${message}`),
  )

it('Directory syncer: runs one shared sync for all calls that arrive during a sync', async () => {
  const { syncs, started } = manualSyncs()
  const log: string[] = []
  for (const name of ['a', 'b', 'c']) logResult(log, name, syncs.sync('/x'))
  await nextTurn()
  expect([started.length, log]).toEqual([1, []])
  started[0]?.end()
  await nextTurn()
  expect([started.length, log]).toEqual([2, ['a']])
  // Its entries were made after the second sync started.
  logResult(log, 'd', syncs.sync('/x'))
  started[1]?.end()
  await nextTurn()
  expect([started.length, log]).toEqual([3, ['a', 'b', 'c']])
  started[2]?.end()
  await nextTurn()
  expect(log).toEqual(['a', 'b', 'c', 'd'])
  logResult(log, 'e', syncs.sync('/x'))
  await nextTurn()
  expect(started.length).toBe(4)
})

it('Directory syncer: syncs different directories independently', async () => {
  const { syncs, started } = manualSyncs()
  const log: string[] = []
  logResult(log, 'x', syncs.sync('/x'))
  logResult(log, 'y', syncs.sync('/y'))
  await nextTurn()
  expect(started.map(({ path }) => path)).toEqual(['/x', '/y'])
  started[1]?.end()
  await nextTurn()
  expect(log).toEqual(['y'])
})

it('Directory syncer: a failed sync rejects the running and waiting calls, but no later call', async () => {
  const { syncs, started } = manualSyncs()
  const log: string[] = []
  for (const name of ['a', 'b', 'c']) logResult(log, name, syncs.sync('/x'))
  await nextTurn()
  started[0]?.end(new Error('EIO'))
  await nextTurn()
  expect(log).toEqual(['a: EIO', 'b: EIO', 'c: EIO'])
  for (const name of ['d', 'e']) logResult(log, name, syncs.sync('/x'))
  await nextTurn()
  started[1]?.end()
  await nextTurn()
  started[2]?.end()
  await nextTurn()
  expect(log.slice(3)).toEqual(['d', 'e'])
})

it('Directory syncer: opens a directory once for consecutive syncs, then closes it', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { syncs, started, paths, closed } = manualSyncs()
  const all = ['a', 'b', 'c'].map(() => syncs.sync('/x'))
  await nextTurn()
  started[0]?.end()
  await nextTurn()
  all.push(syncs.sync('/x'))
  expect(closed).toEqual([])
  started[1]?.end()
  await nextTurn()
  started[2]?.end()
  await Promise.all(all)
  expect([paths, closed]).toEqual([['', '/x'], [1]])
  void syncs.sync('/x')
  await nextTurn()
  expect(paths).toEqual(['', '/x', '/x'])
})

it('Directory syncer: opens a directory again after 10 ms, because it may have been replaced', async () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  const { syncs, started, paths, closed } = manualSyncs()
  const all = [syncs.sync('/x'), syncs.sync('/x')]
  await nextTurn()
  vi.advanceTimersByTime(10)
  started[0]?.end()
  await nextTurn()
  started[1]?.end()
  await Promise.all(all)
  expect([paths, closed]).toEqual([
    ['', '/x', '/x'],
    [1, 2],
  ])
})

it('Directory syncer: closes the directory when a sync fails, even if another call waits', async () => {
  const { syncs, started, closed } = manualSyncs()
  const all = Promise.allSettled([syncs.sync('/x'), syncs.sync('/x')])
  await nextTurn()
  started[0]?.end(new Error('EIO'))
  await all
  expect(closed).toEqual([1])
})

it('Directory syncer: never runs two syncs of a directory at once', async () => {
  const { syncs, started, paths, closed } = manualSyncs()
  const all = [syncs.sync('/x'), syncs.sync('/x')]
  await nextTurn()
  started[0]?.end()
  // In each microtask between the end of one sync and the start of the next.
  for (let i = 0; i < 20; i += 1) {
    await undefined
    all.push(syncs.sync('/x'))
  }
  await nextTurn()
  expect(started.length).toBe(2)
  started[1]?.end()
  await nextTurn()
  expect(started.length).toBe(3)
  started[2]?.end()
  await Promise.all(all)
  expect(closed.length).toBe(paths.length - 1)
})
