import { setMaxListeners } from 'node:events'

/**
 * Processes items with limited concurrency. After the first failure it starts no further items and aborts the
 * running ones; when all have ended it rejects with that failure.
 * @param limit largest number of items that are processed at the same time
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
  // Each request adds a listener. Above ten of them Node would warn of a leak.
  setMaxListeners(0, either)
  const results: Result[] = []
  const remaining = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of remaining) {
      if (either.aborted) return
      results[index] = await work(item, either, index)
    }
  }
  const fail = (error: unknown): void => failure.abort(error)
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, () => worker().catch(fail)))
  either.throwIfAborted()
  return results
}

/** Returns a function that runs the work for one key one after the other, in the order of the calls. */
export function keyedMutex(): <Result>(key: string, work: () => Promise<Result>) => Promise<Result> {
  const last = new Map<string, Promise<unknown>>()
  return async (key, work) => {
    const current = (last.get(key) ?? Promise.resolve()).then(work, work)
    last.set(key, current)
    try {
      return await current
    } finally {
      if (last.get(key) === current) last.delete(key)
    }
  }
}
