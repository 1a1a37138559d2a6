import type { DialectName } from './load/dialects/dialects.ts'

/** A server to be measured. */
export interface Contestant {
  readonly name: string
  /** A program in servers/, and what it is told beside its directory; or nginx. */
  readonly server: { readonly program: string; readonly words?: readonly string[] } | 'nginx'
  readonly dialect: DialectName
  /** Whether what it took is to stand in its directory. */
  readonly keeps: boolean
}

/** `tmpfs` is memory, `disk` the temporary directory's file system. */
export type Place = 'tmpfs' | 'disk'

/** What contestants are compared by. */
export interface Case {
  /** Words that filters look for. */
  readonly name: string
  readonly place: Place
  readonly contestants: readonly Contestant[]
  /** Connections. */
  readonly uploads: number
  /** Bytes. */
  readonly size: number
  readonly fragment: number
  /** What is counted. `memory`: uploads that are silent, and bytes for each. */
  readonly unit: 'MB/s' | 'files/s' | 'requests/s' | 'bytes/upload'
  /** How many times the usual rounds: where a few hundredths count, and two runs of the same server differ by ten. */
  readonly times?: number
  /** How many times the usual warm-up: where servers have much code of their own for each request, tus above all. */
  readonly warmUps?: number
  /** Files that each connection sends, where the work and not the time is given. */
  readonly files?: number
}
