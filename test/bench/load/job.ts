import type { DialectName } from './dialects/dialects.ts'

/** What the load client is to do, on so many connections, each with one request under way. */
interface Work {
  readonly port: number
  readonly dialect: DialectName
  /** Connections. */
  readonly uploads: number
  /** Bytes of each file, and of its fragments. */
  readonly size: number
  readonly fragment: number
}

/** File after file, as fast as the server takes them. */
export interface PressJob extends Work {
  readonly kind: 'press'
  /** Milliseconds until measuring begins. */
  readonly warmUp: number
  /** Milliseconds to be measured; requests under way then come to their end unmeasured. Or files for each connection. */
  readonly measure: { readonly time: number } | { readonly files: number }
  /** What the case is about: of this there has to be something, and if it takes longer. */
  readonly counted: keyof Counts
}

/** Uploads that begin, send a little of their first fragment, and then are silent. */
export interface HoldJob extends Work {
  readonly kind: 'hold'
  /** The number of the first of them: each has a name of its own. */
  readonly from: number
  /** Bytes of the fragment that are sent. */
  readonly sent: number
}

export type Job = PressJob | HoldJob

/** A file that the server acknowledged. */
export interface Sent {
  readonly name: string
  readonly size: number
  /** Of its contents. */
  readonly salt: number
}

/** What was done. */
export interface Counts {
  bytes: number
  requests: number
  files: number
}

/** What came of the time that was measured. */
export interface Pressed extends Readonly<Counts> {
  readonly seconds: number
  /** The client's own, in seconds of processor time. */
  readonly cpu: number
}

/** What the load client says. */
export type Word =
  | { readonly type: 'begin' }
  | ({ readonly type: 'end' } & Pressed)
  | { readonly type: 'done'; readonly sent: readonly Sent[] }
  | { readonly type: 'held' }
  | { readonly type: 'failed'; readonly reason: string }
