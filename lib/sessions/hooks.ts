import type { Readable } from 'node:stream'
import type { Packet } from '../protocol/packet.ts'
import type { Size } from '../protocol/size.ts'

/** An upload that is about to begin. */
export interface NewUpload {
  /** The session's id: random, unique, never used again. */
  readonly id: string
  /** The name that the client asked for: checked segments joined with `/`, below the mount path. */
  readonly name: string
  /** The whole path that the client asked for, decoded. */
  readonly path: string
  /** What `authorize` said. */
  readonly owner: string | undefined
}

/** What `onCreate` may decide; what it leaves out stays as the options say. */
export interface CreateDecision {
  /** Another name to publish under. It is checked like the client's. */
  readonly name?: string
  /** Largest size of this upload; never more than the option `maxSize`. */
  readonly maxSize?: Size
  /** Whether this upload may replace a file. */
  readonly overwrite?: boolean
  /** Kept with the session and told to `onUpload` and in events. */
  readonly metadata?: Readonly<Record<string, string>>
}

/** An upload whose bytes are all there, durably, but not published yet. */
export interface CompleteUpload extends NewUpload {
  /** Bytes of the file. */
  readonly size: number
  readonly metadata: Readonly<Record<string, string>> | undefined
  /** The file's bytes, to look into before it is published. */
  read(): Readable
}

/** Hooks decide: they are awaited, and they may refuse by throwing a `BitsError`. `Caller` is the request. */
export interface Hooks<Caller> {
  /**
   * Asked for every packet, before anything is done for it. Returns who the client is: the session is bound to that
   * owner, and nobody else's packets will find it. `undefined` or `true` is anybody, `false` is refused with 403.
   * To ask for credentials throw `new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })`.
   */
  readonly authorize?: (
    caller: Caller,
    packet: Packet,
  ) => string | boolean | undefined | Promise<string | boolean | undefined>
  /** Asked when a session begins: may rename, tag, cap or refuse the upload. */
  readonly onCreate?: (
    upload: NewUpload,
    caller: Caller,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement is one that decides nothing
  ) => CreateDecision | void | Promise<CreateDecision | void>
  /**
   * Asked when the last byte is durable, before the file is published and before the client learns of it: it may take
   * as long as the client waits (Windows: 5 minutes). If it throws, the client is told that the application failed and
   * sends the last fragment again later; then, as after a crash, it runs again: `id` tells that it is the same upload.
   */
  readonly onUpload?: (upload: CompleteUpload, caller: Caller) => void | Promise<void>
}
