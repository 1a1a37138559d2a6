import type { ObjectService, ServiceOptions } from '../../../../lib/stores/object/service/service.ts'

/** Runs a request, or does something else in its place. */
type Interceptor = <T>(run: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** An object space that records its requests, and can intercept them. */
export interface WatchedSpace extends ObjectService {
  /** All requests so far, in the order in which they began: call and key below `.bits-sessions/`, as in `put locks/…`. */
  readonly requests: string[]
  /** From now on requests that match are passed to the interceptor. If several match, the last one is used. */
  intercept(request: RegExp, interceptor: Interceptor): void
  /** Removes all interceptors. */
  restore(): void
}

export function watchedSpace(space: ObjectService): WatchedSpace {
  const requests: string[] = []
  let interceptors: { request: RegExp; interceptor: Interceptor }[] = []

  const send = <T>(
    call: string,
    key: string,
    options: ServiceOptions | undefined,
    run: () => Promise<T>,
  ): Promise<T> => {
    const request = `${call} ${key.replace('.bits-sessions/', '')}`
    requests.push(request)
    const found = interceptors.findLast((one) => one.request.test(request))
    return found ? found.interceptor(run, options?.signal) : run()
  }

  return {
    minSource: space.minSource,
    maxSources: space.maxSources,
    requests,
    intercept: (request, interceptor) => interceptors.push({ request, interceptor }),
    restore: () => {
      interceptors = []
    },
    prepare: () => space.prepare(),
    put: (key, chunks, options) => send('put', key, options, () => space.put(key, chunks, options)),
    get: (key, options) => send('get', key, options, () => space.get(key, options)),
    head: (key, options) => send('head', key, options, () => space.head(key, options)),
    read: (...args) => space.read(...args),
    async *list(prefix, options) {
      await send('list', prefix, options, async () => {})
      yield* space.list(prefix, options)
    },
    async *folders(prefix, options) {
      await send('list', prefix, options, async () => {})
      yield* space.folders(prefix, options)
    },
    remove: (keys, options) => send('remove', keys.join(), options, () => space.remove(keys, options)),
    removeIfVersion: (key, version, options) =>
      send('remove', key, options, () => space.removeIfVersion(key, version, options)),
    compose: (...args) => space.compose(...args),
    abortUploads: (...args) => space.abortUploads(...args),
  }
}

/** The request is carried out, but its answer is lost. */
export const answerLost: Interceptor = async (run) => {
  await run()
  throw new Error('socket hang up')
}

/** The request does not reach the service. */
export const unreachable: Interceptor = async () => {
  throw new Error('connect ECONNREFUSED')
}

/** The request is not answered until its signal is aborted. */
export const hanging: Interceptor = (_run, signal) =>
  new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
