import type { Readable } from 'node:stream'
import type { HostId } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, ReplyRequest } from '../protocol/packet.ts'
import type { Size } from '../protocol/size.ts'
import type { SessionPaths, Store } from '../stores/store.ts'

/** An upload that is about to begin. */
export interface NewUpload {
  /** The session's id: random, unique, never used again. */
  readonly id: string
  /** The name that the client asked for: checked segments joined with `/`, below the mount path. */
  readonly name: string
  /** The whole path that the client asked for, decoded. */
  readonly path: string
  /** The whole URL that the client asked for, query and all, as it wrote it. */
  readonly url: string
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

/**
 * What an application answers to an upload, for clients that asked for an upload-reply; others do not look at it.
 * - a string, as UTF-8; bytes; a stream of either, a Readable for example: copied into the store
 * - `{ file }`: a path; the file is copied into the store
 * - a `URL`, or `{ url }`: a reply that stands elsewhere, http or https. The client gets the address, 2,200 characters at
 *   most, and fetches it from there; `{ url }` as it is written
 *
 * What was copied is served by the middleware, under its mount path, and is removed with the session.
 */
export type Reply =
  | string
  | Uint8Array
  | AsyncIterable<Uint8Array | string>
  | { readonly file: string }
  | URL
  | { readonly url: string }

/** What `onUpload` may decide; what it leaves out stays as it would be without it. */
export interface UploadDecision {
  /** Default: none. */
  readonly reply?: Reply
  /** Whether the upload is to appear under its name. Default: true. */
  readonly publish?: boolean
}

/** An upload whose bytes are all there, durably, but not published yet. */
export interface CompleteUpload extends NewUpload {
  /** Bytes of the file. */
  readonly size: number
  readonly metadata: Readonly<Record<string, string>> | undefined
  /** The file's bytes, to look into before it is published. */
  read(): Readable
  /** Where the store keeps these bytes, and where a reply may be written that is then returned as `{ file: paths.reply }`:
   * absolute paths. Undefined where the store has no files. */
  readonly paths: SessionPaths | undefined
}

/** Hooks decide: they are awaited, and they may refuse by throwing a `BitsError`. `Caller` is the request. */
export interface Hooks<Caller> {
  /**
   * Asked for every packet, and for every download of a reply, before anything is done for it. Returns who the client is: the session is bound to that
   * owner, and nobody else's packets will find it. `undefined` or `true` is anybody, `false` is refused with 403.
   * To ask for credentials throw `new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })`.
   */
  readonly authorize?: (
    caller: Caller,
    packet: Packet | ReplyRequest,
  ) => string | boolean | undefined | Promise<string | boolean | undefined>
  /** Asked when a session begins: may rename, tag, cap or refuse the upload. */
  readonly onCreate?: (
    upload: NewUpload,
    caller: Caller,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement is one that decides nothing
  ) => CreateDecision | void | Promise<CreateDecision | void>
  /**
   * Asked when the last byte is durable, before the file is published and before the client learns of it: it may take
   * as long as the client waits (Windows: 5 minutes). It may return a reply, or a decision. If it throws, the client is
   * told that the application failed and sends the last fragment again later; then, as after a crash, it runs again: `id`
   * tells that it is the same upload. An error of status 403, such as `application-refused`, is remembered: it does not
   * run again, and the bytes are dropped.
   */
  readonly onUpload?: (
    upload: CompleteUpload,
    caller: Caller,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement is one that decides nothing
  ) => UploadDecision | Reply | void | Promise<UploadDecision | Reply | void>
}

/**
 * Asks who a client is.
 * @returns the owner's name; undefined for anybody
 * @throws {BitsError} what the hook threw, `access-denied` if it said no, `hook-failed` for an answer that is none
 */
export async function authorizeRequest<Caller>(
  hook: NonNullable<Hooks<Caller>['authorize']>,
  caller: Caller,
  packet: Packet | ReplyRequest,
): Promise<string | undefined> {
  let owner: unknown
  try {
    owner = await hook(caller, packet)
  } catch (error) {
    throw asBitsError(error, 'hook-failed')
  }
  if (owner === false) throw new BitsError('access-denied')
  if (owner === undefined || owner === null || owner === true) return undefined
  if (typeof owner === 'string' && owner !== '') return owner
  // An empty name would make one owner of all who have none.
  const cause = new TypeError('authorize() returns a name, true, false or undefined')
  throw new BitsError('hook-failed', cause.message, { cause })
}

/** What the sessions need of the options: checked, defaulted, frozen. Bytes and milliseconds. */
export interface SessionSettings<Caller> extends Hooks<Caller> {
  readonly store: Store
  readonly maxSize: number
  readonly maxFragmentSize: number
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
  readonly overwrite: boolean
  readonly expireAfter: number
  readonly commitOn: 'last-fragment' | 'close'
  readonly createStatus: 200 | 201
  readonly hostId: HostId | undefined
  readonly enabled: () => boolean
}
