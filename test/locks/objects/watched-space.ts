import type { ObjectSpace, SpaceOptions } from '../../../lib/objects/space.ts'

/** A request to the service: what it is, and for what, below `.bits-sessions/`: `put locks/…`. */
export type Request = string

/** Does what a call asks for, or something else. */
type Meddler = <T>(run: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** A space that tells what is asked of it, and may be meddled with. */
export interface WatchedSpace extends ObjectSpace {
  /** All requests so far, in the order in which they began. */
  readonly requests: Request[]
  /** From now on calls whose requests match go through this. Of several the last one counts. */
  meddle(request: RegExp, meddler: Meddler): void
  /** Calls are carried out again. */
  leaveAlone(): void
}

export function watchedSpace(space: ObjectSpace): WatchedSpace {
  const requests: Request[] = []
  let meddlers: { request: RegExp; meddler: Meddler }[] = []

  const ask = <T>(
    call: string,
    key: string,
    options: SpaceOptions | undefined,
    run: () => Promise<T>,
  ): Promise<T> => {
    const request = `${call} ${key.replace('.bits-sessions/', '')}`
    requests.push(request)
    const found = meddlers.findLast((one) => one.request.test(request))
    return found ? found.meddler(run, options?.signal) : run()
  }

  return {
    minSource: space.minSource,
    maxSources: space.maxSources,
    requests,
    meddle: (request, meddler) => meddlers.push({ request, meddler }),
    leaveAlone: () => {
      meddlers = []
    },
    prepare: () => space.prepare(),
    put: (key, chunks, options) => ask('put', key, options, () => space.put(key, chunks, options)),
    get: (key, options) => ask('get', key, options, () => space.get(key, options)),
    head: (key, options) => ask('head', key, options, () => space.head(key, options)),
    read: (...args) => space.read(...args),
    async *list(prefix, options) {
      await ask('list', prefix, options, async () => {})
      yield* space.list(prefix, options)
    },
    async *folders(prefix, options) {
      await ask('list', prefix, options, async () => {})
      yield* space.folders(prefix, options)
    },
    remove: (keys, options) => ask('remove', keys.join(), options, () => space.remove(keys, options)),
    removeIf: (key, version, options) =>
      ask('remove', key, options, () => space.removeIf(key, version, options)),
    join: (...args) => space.join(...args),
    abandon: (...args) => space.abandon(...args),
  }
}

/** Is carried out, but the answer gets lost. */
export const answerLost: Meddler = async (run) => {
  await run()
  throw new Error('socket hang up')
}

/** Does not get through. */
export const unreachable: Meddler = async () => {
  throw new Error('connect ECONNREFUSED')
}

/** Is not answered until somebody gives up. */
export const hanging: Meddler = (_run, signal) =>
  new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
