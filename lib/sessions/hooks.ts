import type { Readable } from 'node:stream'
import { inspect } from 'node:util'
import type { HostId } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, ReplyRequest } from '../protocol/packet.ts'
import type { SessionPaths, Store } from '../stores/store.ts'
import type { Size } from '../validate.ts'

/** An upload whose session is about to be created. */
export interface NewUpload {
  /** The session's id: random, unique, never used again. */
  readonly id: string
  /** The name that the client requested: checked segments joined with `/`, below the mount path. */
  readonly name: string
  /** The whole path that the client requested, decoded. */
  readonly path: string
  /** The whole URL that the client requested, with its query, as the client wrote it. */
  readonly url: string
  /** The result of `authorize`. */
  readonly owner: string | undefined
}

/** The result of `onCreate`. The options of the middleware apply to members that are left out. */
export interface CreateDecision {
  /** Another name to publish under. It is checked like that of the client. */
  readonly name?: string
  /** Largest size of this upload; never more than the option `maxSize`. */
  readonly maxSize?: Size
  /** Whether this upload may replace a file. */
  readonly overwrite?: boolean
  /** Stored with the session, and passed to `onUpload` and to events. */
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * The application's reply to an upload, for clients that requested an upload-reply; other clients ignore it.
 * - a string, as UTF-8; bytes; a stream of either, for example a Readable: copied into the store
 * - `{ file }`: a path; the file is copied into the store
 * - a `URL`, or `{ url }`: a reply on another server, http or https, at most 2,200 characters. The client downloads it from
 *   there; `{ url }` is sent as written
 *
 * The middleware serves a copied reply below its mount path, until the session ends.
 */
export type Reply =
  | string
  | Uint8Array
  | AsyncIterable<Uint8Array | string>
  | { readonly file: string }
  | URL
  | { readonly url: string }

/** The result of `onUpload`. The defaults apply to members that are left out. */
export interface UploadDecision {
  /** Default: none. */
  readonly reply?: Reply
  /** Whether to publish the upload under its name. Default: true. */
  readonly publish?: boolean
}

/** An upload whose bytes are all held, durably, but not published yet. */
export interface CompleteUpload extends NewUpload {
  /** Bytes of the file. */
  readonly size: number
  readonly metadata: Readonly<Record<string, string>> | undefined
  /** The bytes of the file, to check them before it is published. */
  read(): Readable
  /**
   * Absolute paths: of the bytes in the store, and of a reply, which the application may write there and return as
   * `{ file: paths.reply }`. Undefined if the store has no files.
   */
  readonly paths: SessionPaths | undefined
}

/** Hooks decide: they are awaited, and may refuse a packet by throwing a `BitsError`. `Caller` is the request. */
export interface Hooks<Caller> {
  /**
   * Called for every packet, and for every download of a reply, before it is processed. Returns the owner, the name of the
   * client: the session belongs to that owner, and packets of others get `session-not-found`. `undefined` or `true`: allowed,
   * without an owner. `false`: refused with 403. To request credentials throw `new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })`.
   */
  readonly authorize?: (
    caller: Caller,
    packet: Packet | ReplyRequest,
  ) => string | boolean | undefined | Promise<string | boolean | undefined>
  /** Called before a session is created: may rename, tag, limit or refuse the upload. */
  readonly onCreate?: (
    upload: NewUpload,
    caller: Caller,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement decides nothing
  ) => CreateDecision | void | Promise<CreateDecision | void>
  /**
   * Called when the last byte is durable, before the file is published and the Ack is sent. It may take as long as the
   * client waits (Windows: 5 minutes). It may return a reply, or a decision. If it throws, the client gets an error of the
   * application, and sends the last fragment again later. Then, as after a crash, the hook runs again, with the same `id`.
   * An error of status 403, such as `application-refused`, rejects the upload permanently: the hook does not run again, and
   * the bytes are removed.
   */
  readonly onUpload?: (
    upload: CompleteUpload,
    caller: Caller,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement decides nothing
  ) => UploadDecision | Reply | void | Promise<UploadDecision | Reply | void>
}

/**
 * Calls the hook `authorize`.
 * @returns the owner; undefined if there is none
 * @throws {BitsError} the error of the hook, `access-denied` if it returned false, `hook-failed` for an invalid result
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
  if (owner === undefined || owner === true) return undefined
  if (typeof owner === 'string' && owner !== '') return owner
  // Also null, which a failed look-up of a user returns, and an empty name, which would be one owner for many clients.
  const cause = new TypeError(`authorize() returns a name, true, false or undefined, not ${inspect(owner)}`)
  throw new BitsError('hook-failed', cause.message, { cause })
}

/** The options that sessions need: checked, with defaults, frozen. Bytes and milliseconds. */
export interface SessionSettings<Caller> extends Hooks<Caller> {
  readonly store: Store
  readonly maxSize: number
  readonly maxFragmentSize: number
  readonly maxSessions: number
  readonly maxSessionsPerOwner: number
  readonly overwrite: boolean
  readonly expireAfter: number
  readonly lockTimeout: number
  readonly commitOn: 'last-fragment' | 'close'
  readonly createStatus: 200 | 201
  readonly hostId: HostId | undefined
  readonly enabled: boolean | (() => boolean)
}

/**
 * Whether uploads are enabled.
 * @throws {BitsError} `hook-failed` if the function of the application throws or returns no boolean: a promise would always
 * count as true
 */
export function isEnabled(enabled: boolean | (() => boolean)): boolean {
  try {
    const result: unknown = typeof enabled === 'function' ? enabled() : enabled
    if (typeof result === 'boolean') return result
    throw new TypeError(`enabled() returns true or false, not ${String(result)}`)
  } catch (error) {
    throw asBitsError(error, 'hook-failed')
  }
}
