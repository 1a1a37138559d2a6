import type { ObjectService, ServiceOptions } from '../../../../lib/stores/object/service/service.ts'

/** Runs a request, or does something else in its place. */
type Interceptor = <T>(run: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** An object service that records its requests, and can intercept them. */
export interface RecordingService extends ObjectService {
  /**
   * All requests so far, in the order in which they began: call and key below `.bits-sessions/`, as in `put
   * locks/…`.
   */
  readonly requests: string[]
  /**
   * From now on requests that match are passed to the interceptor. If several match, the last one is used.
   */
  intercept(request: RegExp, interceptor: Interceptor): void
  /** Removes all interceptors. */
  restore(): void
}

export function recordingService(service: ObjectService): RecordingService {
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
    minSourceBytes: service.minSourceBytes,
    maxSources: service.maxSources,
    requests,
    intercept: (request, interceptor) => interceptors.push({ request, interceptor }),
    restore: () => {
      interceptors = []
    },
    prepare: () => service.prepare(),
    put: (key, chunks, options) => send('put', key, options, () => service.put(key, chunks, options)),
    get: (key, options) => send('get', key, options, () => service.get(key, options)),
    head: (key, options) => send('head', key, options, () => service.head(key, options)),
    read: (...args) => service.read(...args),
    async *list(prefix, options) {
      await send('list', prefix, options, async () => {})
      yield* service.list(prefix, options)
    },
    async *folders(prefix, options) {
      await send('list', prefix, options, async () => {})
      yield* service.folders(prefix, options)
    },
    remove: (keys, options) => send('remove', keys.join(), options, () => service.remove(keys, options)),
    removeIfVersion: (key, version, options) =>
      send('remove', key, options, () => service.removeIfVersion(key, version, options)),
    compose: (...args) => service.compose(...args),
    abortUploads: (...args) => service.abortUploads(...args),
  }
}

/** The request is processed, but its response is lost. */
export const responseLost: Interceptor = async (run) => {
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
