import { setMaxListeners } from 'node:events'

/**
 * Works on some items at a time. After the first that fails nothing more is begun, what is under way is given up, and
 * its error is passed on when all have ended.
 * @param limit most items at a time
 * @returns the results, in the order of the items
 */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  limit: number,
  signal: AbortSignal | undefined,
  work: (item: Item, signal: AbortSignal, index: number) => Promise<Result>,
): Promise<Result[]> {
  signal?.throwIfAborted()
  const failure = new AbortController()
  const either = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal
  // Each request listens; Node would take more than ten for a leak.
  setMaxListeners(0, either)
  const results: Result[] = []
  const left = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of left) {
      if (either.aborted) return
      results[index] = await work(item, either, index)
    }
  }
  const fail = (error: unknown): void => failure.abort(error)
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, () => worker().catch(fail)))
  either.throwIfAborted()
  return results
}

/** Does what is to be done with one key one after the other, in the order in which it comes. */
export function keyedMutex(): <Result>(key: string, work: () => Promise<Result>) => Promise<Result> {
  const last = new Map<string, Promise<unknown>>()
  return async (key, work) => {
    const mine = (last.get(key) ?? Promise.resolve()).then(work, work)
    last.set(key, mine)
    try {
      return await mine
    } finally {
      if (last.get(key) === mine) last.delete(key)
    }
  }
}
