import type { ProtocolName } from './protocols/index.ts'

/** A job for the load client, on this many connections, each with one request in flight. */
interface JobBase {
  readonly port: number
  readonly protocol: ProtocolName
  /** Connections. */
  readonly uploads: number
  /** Bytes of each file. */
  readonly size: number
  /** Bytes of each fragment. */
  readonly fragment: number
}

/** Uploads files one after another as fast as the server receives them. */
export interface ThroughputJob extends JobBase {
  readonly kind: 'throughput'
  /** Milliseconds until the measurement begins. With a number of files: not 0 if one small file is sent before. */
  readonly warmUp: number
  /**
   * Milliseconds of the measurement, after which requests in flight are completed; or files for each
   * connection.
   */
  readonly measure: { readonly time: number } | { readonly files: number }
  /** The beginning of the names of all files. Default: none. */
  readonly prefix?: string
  /** The measurement goes on until this counter has changed, even if that takes longer. */
  readonly counter: keyof Counters
}

/** Begins uploads that send a part of their first fragment, and then nothing more. */
export interface SilentJob extends JobBase {
  readonly kind: 'silent'
  /** The number of the first upload. The name of each file contains the number of its upload. */
  readonly from: number
  /** Bytes of the fragment that are sent. */
  readonly sentBytes: number
}

export type Job = ThroughputJob | SilentJob

/** A file that the server acknowledged. */
export interface SentFile {
  readonly name: string
  readonly size: number
  /** Selects its contents. */
  readonly salt: number
}

export interface Counters {
  bytes: number
  requests: number
  files: number
}

/** What was sent during the measurement. */
export interface Measurement extends Readonly<Counters> {
  readonly seconds: number
  /** The client's own processor time, in seconds. */
  readonly cpu: number
}

/** A message from the load client to the benchmark. */
export type LoadMessage =
  | { readonly type: 'begin' }
  | ({ readonly type: 'end' } & Measurement)
  | { readonly type: 'done'; readonly sent: readonly SentFile[] }
  | { readonly type: 'silent' }
  | { readonly type: 'failed'; readonly reason: string }
