import type { Readable } from 'node:stream'
import type { Locker } from '../locks/locker.ts'

/** The fields of a session that are known when it is created. They never change. */
export interface NewSession {
  /** `{UPPER-CASE-GUID}`. Unique; an id is never used twice. */
  readonly id: string
  /**
   * The name to publish the file under: validated segments joined with `/`, relative to the root of the
   * store.
   */
  readonly name: string
  /**
   * The path that the client requested, decoded, with the mount path. Its later packets must have the same
   * path.
   */
  readonly path: string
  /** The whole URL that the client requested, with the query, as the client wrote it. */
  readonly url: string
  /** The owner that `authorize` returned; undefined without that hook. */
  readonly owner?: string
  /** Largest size of this upload in bytes. */
  readonly maxSize: number
  /** Whether publishing may replace a file. */
  readonly overwrite: boolean
  /** The metadata that `onCreate` returned. */
  readonly metadata?: Readonly<Record<string, string>>
  /** When the session was created. Milliseconds since 1970. */
  readonly created: number
}

/**
 * The progress of a session, as the store has saved it:
 * - `receiving`: bytes are missing, or all bytes are held and nothing is decided yet
 * - `accepted`: all bytes are held and `onUpload` accepted them; not published yet, or never to be published
 * - `published`: the file exists under its name
 * - `rejected`: all bytes were held and `onUpload` rejected them permanently
 * - `lost`: bytes were held, or may have been, and have disappeared without a call of the store
 */
export type SessionState = 'receiving' | 'accepted' | 'published' | 'rejected' | 'lost'

/** The decision of `onUpload` about an upload that it accepted. */
export interface Decision {
  /** Whether the upload is published under its name. */
  readonly publish: boolean
  /** The reply: `'stored'` in the store, or at another URL. Undefined: there is no reply. */
  readonly reply?:
    | 'stored'
    | {
        /** Absolute URL, as it is sent to the client. */
        readonly url: string
      }
}

/** A reply that a store holds. It does not change after its upload was accepted. */
export interface StoredReply {
  /** Bytes. */
  readonly size: number
  /** When the reply was written: milliseconds since 1970. Every load returns the same value. */
  readonly modified: number
  /** The bytes from `first` to `last`, inclusive. */
  read(first: number, last: number): Readable
}

/** Absolute paths of the files of one session, for a store that holds sessions in files. */
export interface SessionPaths {
  /** The bytes held. */
  readonly upload: string
  /** The reply. The file may be missing. */
  readonly reply: string
}

/** A session as the store holds it now. */
export interface Session extends NewSession {
  /** How far the upload is. */
  readonly state: SessionState
  /**
   * Bytes held from offset 0 without holes: the only truth about progress. Once published or rejected, the
   * same as `total`.
   */
  readonly received: number
  /** Size of the whole file in bytes; undefined before the first `append`. */
  readonly total?: number
  /** When the last `append` ended, or the session was created. Milliseconds since 1970. */
  readonly updatedAt: number
  /** The argument of `accept`, also after the upload was published. */
  readonly decision?: Decision
  /** The reason that was passed to `reject`. */
  readonly rejection?: string
}

/**
 * The bytes of a fragment, in batches as they arrived. A store writes each batch before it requests the next
 * one: then the body uses the memory of the batch again, and may empty the array and its chunks. A store that
 * keeps bytes longer copies them.
 */
export type Body = AsyncIterable<readonly Uint8Array[]>

/** Options of every asynchronous method of a {@link Store}. */
export interface StoreOptions {
  /**
   * Aborted when the caller no longer waits for the result. The store may then stop or finish, but must not
   * leave a half change.
   */
  readonly signal?: AbortSignal
}

/** Options of {@link Store.create}. */
export interface CreateOptions extends StoreOptions {
  /**
   * Whether the caller may call {@link Store.read}, which a hook `onUpload` may do. If not, a store may keep the bytes where
   * it cannot read them before they are published. Default: false.
   */
  readonly mayReadBytes?: boolean
}

/** Options of {@link Store.append}. */
export interface AppendOptions extends StoreOptions {
  /** Size of the whole file in bytes. The store saves it with the first `append`. */
  readonly total: number
  /**
   * Resolve only when all bytes held would survive a loss of power, because the caller is about to acknowledge them.
   */
  readonly durable: boolean
  /**
   * Whether the store may publish the upload in the same call, once it holds all bytes. Then it returns a session with the
   * state `published`, or rejects as {@link Store.publish} does, and need not hold the bytes of the body. A store for which
   * this saves no work ignores the option, and the caller calls `publish` next. Default: false.
   */
  readonly publish?: boolean
}

/** Options of {@link Store.acquireDecision}. */
export interface DecisionOptions extends StoreOptions {
  /** Milliseconds to wait for another process; then the call rejects with `session-busy`. 0: no limit. */
  readonly timeout: number
}

/** The right to decide about a complete upload, which one packet of all processes has at a time. */
export interface DecisionLease<Held extends Session = Session> {
  /** The session as `load` would return it now: another process may have decided about it, or may have lost bytes. */
  readonly session: Held
  /** Called once: after the decision was saved and the upload was published, or after that failed. Does not reject. */
  release(): Promise<void>
}

/** Options of {@link Store.list}. */
export interface ListOptions extends StoreOptions {
  /**
   * Called with the error of each session that exists but cannot be read, for example of a newer format. Without it `list`
   * rejects with the first such error, after it has yielded all other sessions.
   */
  readonly onUnreadable?: (error: unknown) => void
}

/**
 * Holds sessions and their bytes.
 *
 * The caller holds the lock of the session, so only one method runs for one session at a time. Exceptions:
 * `create`, because no other process knows the session yet; `list`; `load` and `loadReply` for the download of a reply;
 * a store that is {@link isShared}, where the lock excludes calls of the same process only. A call that exceeded
 * `storeTimeout` may still run while another process uses the session; in its own process `load` is not called before it
 * has settled, unless the store is shared.
 *
 * The `session` argument of a method is an object that `create` or `load` returned under this lock, or that `append` or
 * `acquireDecision` returned for such an object. Copies with changed fields of {@link Session} are allowed, so a store
 * must find its own fields in a copy that `Object.assign` made. A store may add fields that it needs between calls: `Held`
 * is their type. The object need not show what other methods did since: a session that was loaded, accepted and published
 * may still have the state `receiving`. All methods accept it nevertheless, also those of a shared store, and copies of it.
 *
 * A method may reject with a `BitsError`, which is sent to the client unchanged. Any other error becomes a
 * 5xx, and the client sends its packet again later.
 *
 * @typeParam Held sessions of this store, with the fields that it adds
 */
export interface Store<Held extends Session = Session> {
  /**
   * Locks between all processes that share the storage. Without it, sessions are locked within this process only.
   */
  readonly locker?: Locker

  /**
   * Whether several processes may use one session at the same time without a `locker`, because each change is made on the
   * condition that no other process has changed the session since it was loaded. `append`, `publish` and `remove` reject with
   * `out-of-sync` if another process has, and change nothing. The caller may then cache a session for a minute, without
   * {@link release}, and loads it again before it refuses a packet because of the session's state. Default: false.
   */
  readonly isShared?: boolean

  /**
   * Creates a session. `load` must find it from every process that shares the storage.
   *
   * Rejects with `destination-exists` if the name is taken and `overwrite` is off (`publish` checks again),
   * `invalid-destination` if the name is a folder, `destination-not-found` if the folder of the name does not
   * exist (never in a store without folders). A rejected call leaves nothing behind.
   * @returns the session as `load` would return it now
   */
  create(session: NewSession, options?: CreateOptions): Promise<Held>

  /**
   * The session as the storage holds it now, never from a cache; undefined if it does not exist. Rejects if it exists but
   * cannot be read: its data is corrupt, or of a newer format. Such a session is never removed.
   */
  load(id: string, options?: StoreOptions): Promise<Held | undefined>

  /**
   * Closes what is open for a session: the caller evicts the session from its cache.
   *
   * A store that has this method allows the caller to cache a session between packets, for a second or two
   * while the lock is held, without calling `load` again. After a method failed for a locked session, `release` is always
   * called. It may be called more than once, for a session that was only loaded, and before a method that exceeded
   * `storeTimeout` has ended. It must not throw. Listed sessions need no `release`.
   */
  release?(session: Held): void

  /**
   * Writes a body after the bytes held (at offset `session.received`), in bounded memory. Updates `updatedAt`
   * even if the body is empty. If the body throws, the batches that it yielded before are kept, `load` counts
   * them, and the call rejects with the error of the body. If writing fails, the bytes that `load` counts are held.
   * @returns the session as `load` would return it now
   */
  append(session: Held, body: Body, options: AppendOptions): Promise<Held>

  /**
   * Only for stores that are {@link isShared}: acquires the right to call `onUpload` for a complete upload, so that the hook
   * does not run in two processes at once. `session` may be stale. Waits while another process has the right; `signal` ends
   * this wait, but not the right. If the process that has it stops, the right is free after about ten seconds; if that
   * process continues, its `accept`, `reject` and `publish` reject. Rejects with `session-not-found` if the session was removed.
   */
  acquireDecision?(session: Held, options: DecisionOptions): Promise<DecisionLease<Held>>

  /** Saves durably that `onUpload` accepted the upload, with its decision: the state becomes `accepted`. */
  accept(session: Held, decision: Decision, options?: StoreOptions): Promise<void>

  /**
   * Saves durably that `onUpload` rejected the upload permanently: the state becomes `rejected`. The bytes are no longer needed.
   * @param reason for the operator
   */
  reject(session: Held, reason: string, options?: StoreOptions): Promise<void>

  /**
   * Publishes the complete upload under its name, atomically and durably: the name never shows a part of the file, also not
   * after a crash. Without `overwrite`, rejects with `destination-exists` if the name is taken, also if another process takes
   * it at the same time. Called again after a crash, it publishes only what is not published yet. A shared store may resolve
   * if another process has published the session. It rejects with `out-of-sync` if bytes were lost, and `load` shows which.
   */
  publish(session: Held, options?: StoreOptions): Promise<void>

  /**
   * The bytes held, as a stream for `onUpload`. Not for published uploads: the store no longer owns their bytes.
   */
  read(session: Held): Readable

  /** Only for stores that hold sessions in files, which other programs of the machine can read. */
  paths?(session: Held): SessionPaths

  /**
   * Saves the reply to an upload, in place of an earlier one. It is durable when the call resolves. If the body throws, the
   * call rejects with the error of the body.
   * @param body undefined: the reply is what the file at `paths(session).reply` contains; a missing file is an empty reply
   */
  saveReply(session: Held, body?: Body, options?: StoreOptions): Promise<void>

  /** The saved reply; undefined if there is none. */
  loadReply(session: Held, options?: StoreOptions): Promise<StoredReply | undefined>

  /**
   * Removes the session, its reply and the bytes that it still holds, but never a published file. Resolves
   * also if the session does not exist.
   */
  remove(session: Held, options?: StoreOptions): Promise<void>

  /**
   * All sessions, in any order. Sessions that are created or removed meanwhile may be missing or present. A
   * store must not hold all sessions in memory at once. It may remove meanwhile what crashes left behind.
   */
  list(options?: ListOptions): AsyncIterable<Held>
}

/** The number of bytes in a batch. */
export function byteLength(chunks: readonly Uint8Array[]): number {
  let sum = 0
  for (const chunk of chunks) sum += chunk.length
  return sum
}

/** The batch without its first `count` bytes. Bytes are not copied. */
export function dropBytes(chunks: readonly Uint8Array[], count: number): Uint8Array[] {
  let remaining = count
  return chunks.flatMap((chunk) => {
    const skipped = Math.min(remaining, chunk.length)
    remaining -= skipped
    return skipped === chunk.length ? [] : [chunk.subarray(skipped)]
  })
}
