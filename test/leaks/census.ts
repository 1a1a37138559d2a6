/** The resources of a process that an upload could leak. */
export interface Census {
  /** Bytes, after a garbage collection. */
  readonly heap: number
  /** `process.getActiveResourcesInfo()`. */
  readonly handles: readonly string[]
  /** Open files, sockets and pipes; on Linux only, elsewhere 0. */
  readonly descriptors: number
  /** Listeners on what lives as long as the process. */
  readonly listeners: Readonly<Record<string, number>>
  /** Subscribers of the channels by which the library sees connections. */
  readonly subscribers: Readonly<Record<string, number>>
  /** Objects alive, after a garbage collection. */
  readonly objects: Readonly<Record<string, number>>
  /** Listeners that were found on requests, responses and sockets after their exchange: how often, by event. */
  readonly leftovers: Readonly<Record<string, number>>
}

export type Question = 'census' | 'sweep' | 'busy'
