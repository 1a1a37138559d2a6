import type { ProtocolName } from './load/protocols/index.ts'

/** A server to be measured. */
export interface Candidate {
  readonly name: string
  /** A program in servers/ with its arguments after the directory, or nginx. */
  readonly server: { readonly program: string; readonly args?: readonly string[] } | 'nginx'
  readonly protocol: ProtocolName
  /** Whether the uploaded files must be in its directory after a run. */
  readonly storesFiles: boolean
  /**
   * A program in clients/ that sends files, and the path of the URL that it gets. Its process is measured instead of the
   * server's.
   */
  readonly client?: { readonly program: string; readonly path: string }
}

/** `tmpfs` is memory, `disk` the file system of the temporary directory. */
export type Medium = 'tmpfs' | 'disk'

/** One measurement, the same for several candidates. */
export interface Case {
  /** Command-line filters search for words in it. */
  readonly name: string
  readonly medium: Medium
  readonly candidates: readonly Candidate[]
  /** Connections. */
  readonly uploads: number
  /** Bytes of a file. */
  readonly size: number
  /** Bytes of a fragment. */
  readonly fragment: number
  /** What is measured. `bytes/upload`: resident memory for each silent upload. */
  readonly unit: 'MB/s' | 'files/s' | 'requests/s' | 'bytes/upload'
  /** Multiplies the number of rounds, where 2 % matter but two runs of the same server differ by 10 %. */
  readonly roundsFactor?: number
  /** Multiplies the warm-up, where servers run much JavaScript for each request, tus above all. */
  readonly warmUpFactor?: number
  /** Files that each connection or client sends, if the amount of work is fixed instead of the time. */
  readonly files?: number
}
