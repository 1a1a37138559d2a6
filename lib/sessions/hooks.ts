import type { Readable } from 'node:stream'
import { inspect } from 'node:util'
import type { HostId } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, ReplyRequest } from '../protocol/packet.ts'
import type { SessionPaths, Store } from '../stores/store.ts'
import type { Size } from '../validate.ts'

/** An upload whose session is about to be created. */
export interface NewUpload {
  /** The session's id, `{UPPER-CASE-GUID}`: random, unique, never used again. */
  readonly id: string
  /** The name that the client requested: checked segments joined with `/`, below the mount path. */
  readonly name: string
  /** The whole path that the client requested, decoded. */
  readonly path: string
  /** The whole URL that the client requested, with its query, as the client wrote it. */
  readonly url: string
  /** The owner that `authorize` returned; undefined if there is none. */
  readonly owner: string | undefined
}

/** The result of `onCreate`. The options of the middleware apply to members that are left out. */
export interface CreateDecision {
  /**
   * Another name to publish under: segments joined with `/`. It is checked like that of the client, and its folders must
   * exist, unless the file store has `createFolders: true`.
   */
  readonly name?: string
  /** Largest size of this upload. The smaller of this and the option `maxSize` applies. */
  readonly maxSize?: Size
  /** Whether this upload may replace a file, instead of the option `overwrite`. */
  readonly overwrite?: boolean
  /** Strings that are stored with the session, and passed to `onUpload` and to events. */
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * The application's reply to an upload, for clients that requested an upload-reply; other clients ignore it. Without a reply an
 * upload-reply job may end in error.
 * - a string, as UTF-8; bytes; a stream of either, for example a Readable: copied into the store
 * - `{ file }`: a path; the file is copied into the store
 * - a `URL`, or `{ url }`: a reply on another server, http or https, at most 2,200 characters. The client downloads it from
 *   there; `{ url }` is sent as written. A longer or relative one is answered with `invalid-reply`
 *
 * A copied reply is durable before the last Ack is sent. The middleware serves it at
 * `BITS-Sessions/Replies/{session}/responsefile.bin` beside the destination, as IIS does: to GET and HEAD, with Content-Length,
 * one or several ranges, a strong ETag and a constant Last-Modified, without compression ([MC-BUP] 3.5). Only the owner of the
 * session gets it. The URL in the Ack is relative, with the option `hostId` absolute. The reply is removed with the session: at
 * Close-Session, Cancel-Session, or after `expireAfter`.
 */
export type Reply =
  | string
  | Uint8Array
  | AsyncIterable<Uint8Array | string>
  | {
      /** Path of the file, relative to the working directory. */
      readonly file: string
    }
  | URL
  | {
      /** Absolute URL, `http:` or `https:`. */
      readonly url: string
    }

/** The result of `onUpload`. The defaults apply to members that are left out. */
export interface UploadDecision {
  /** The reply to the client. Default: none. */
  readonly reply?: Reply
  /** Whether to publish the upload under its name. If not, its bytes are removed with the session. Default: true. */
  readonly publish?: boolean
}

/** An upload whose bytes are all held, durably, but not published yet. */
export interface CompleteUpload extends NewUpload {
  /** Bytes of the file. */
  readonly size: number
  /** The metadata that `onCreate` returned; undefined if there is none. */
  readonly metadata: Readonly<Record<string, string>> | undefined
  /** The bytes of the file, to check them before it is published. Each call returns a new stream. */
  read(): Readable
  /**
   * Absolute paths: of the bytes in the store, and of a reply, which the application may write there and return as
   * `{ file: paths.reply }`. Undefined if the store has no files.
   */
  readonly paths: SessionPaths | undefined
}

/**
 * Hooks decide: they are awaited, and may refuse a packet by throwing a {@link BitsError}. Any other error that they throw is a
 * fault of the server: the event `failed` is emitted, and the client retries.
 *
 * Hooks have no time limit. Give calls of your own one, for example `AbortSignal.timeout(ms)`: a hook that never ends holds
 * its session, or its place in `maxSessions`, until the process exits.
 *
 * @typeParam Caller the request that hooks get
 */
export interface Hooks<Caller> {
  /**
   * Called for every packet, also for Ping, and for every download of a reply, before it is processed. Default: every client
   * may upload.
   * - a string that is not empty: the owner, the name of the client. The session belongs to that owner, and packets of other
   *   owners get `session-not-found`
   * - `undefined` or `true`: allowed, without an owner
   * - `false`: refused with 403 `access-denied`
   * - any other value, such as `null`: refused with 500 `hook-failed`
   *
   * To request credentials throw `new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })`.
   */
  readonly authorize?: (
    caller: Caller,
    packet: Packet | ReplyRequest,
  ) => string | boolean | undefined | Promise<string | boolean | undefined>
  /**
   * Called before a session is created: may rename, tag, limit or refuse the upload. Any error that is no `BitsError` becomes
   * 500 `hook-failed`.
   */
  readonly onCreate?: (
    upload: NewUpload,
    caller: Caller,
    // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement decides nothing
  ) => CreateDecision | void | Promise<CreateDecision | void>
  /**
   * Called when the last byte is durable, before the file is published and the Ack is sent. It may take as long as the
   * client waits (Windows: 5 minutes). It may return a reply, or a decision. If it throws, the client gets an error of the
   * application (context 7; 500 `application-failed` for an error that is no `BitsError`), and sends the last fragment again
   * later. Then, as after a crash, the hook runs again, with the same `id`. An error of status 403, such as
   * `application-refused`, rejects the upload permanently: this is saved, the hook does not run again, and the bytes are
   * removed.
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
