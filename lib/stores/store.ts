import type { Readable } from 'node:stream'
import type { Locker } from '../locks/locker.ts'

/** What is known of an upload when its session begins; it never changes after. */
export interface NewSession {
  /** `{UPPER-CASE-GUID}`, unique, never used again. */
  readonly id: string
  /** Where the file is to be published: checked segments joined with `/`, below the store's root. */
  readonly name: string
  /** The path that the client asked for, decoded, with the mount path; its later packets must name it too. */
  readonly path: string
  /** The whole URL that the client asked for, query and all, as it wrote it. */
  readonly url: string
  /** Whoever `authorize` said the client is; undefined where nobody asked. */
  readonly owner?: string
  /** Largest size in bytes that this upload may have. */
  readonly maxSize: number
  /** Whether publishing may replace a file. */
  readonly overwrite: boolean
  /** What `onCreate` wanted to be kept with the upload. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Milliseconds since 1970. */
  readonly created: number
}

/**
 * - `receiving`: bytes are missing, or all are there and nothing was decided yet
 * - `accepted`: all bytes are there and `onUpload` took them; not published yet, or not to be published
 * - `published`: the file stands under its name
 * - `rejected`: all bytes were there and `onUpload` rejected them for good
 * - `lost`: bytes were held and have vanished behind the store's back
 */
export type SessionState = 'receiving' | 'accepted' | 'published' | 'rejected' | 'lost'

/** What `onUpload` made of an upload that it took. */
export interface Decision {
  /** Whether the upload is to appear under its name. */
  readonly publish: boolean
  /** Where its reply is: `'stored'` by the store, or at a URL that stands elsewhere. Undefined: there is none. */
  readonly reply?: 'stored' | { readonly url: string }
}

/** A reply that a store keeps. It never changes once its upload is accepted. */
export interface StoredReply {
  /** Bytes. */
  readonly size: number
  /** When it was written. Milliseconds since 1970; the same whenever it is asked for. */
  readonly modified: number
  /** The bytes from `first` to `last`, inclusive. */
  read(first: number, last: number): Readable
}

/** Where a store that keeps sessions in files has those of one session: absolute paths. */
export interface SessionPaths {
  /** The bytes held. */
  readonly upload: string
  /** The reply; nothing need stand there. */
  readonly reply: string
}

/** A session as the store holds it at this moment. */
export interface Session extends NewSession {
  readonly state: SessionState
  /** Bytes held from 0 without holes: the only truth about progress. Once published or rejected, the total. */
  readonly received: number
  /** Size of the whole file in bytes; undefined until the first fragment told it. */
  readonly total?: number
  /** When the last append came to its end, or the session was created. Milliseconds since 1970. */
  readonly updatedAt: number
  /** What `accept` was told, also once it is published. */
  readonly decision?: Decision
  /** What `refuse` was told. */
  readonly rejection?: string
}

/**
 * A fragment's bytes, in the batches in which they arrived. Each batch is written before the next is asked for: then its
 * memory is the giver's again, and it and its chunks may be empty, so who wants to keep some bytes copies them.
 */
export type Body = AsyncIterable<readonly Uint8Array[]>

export interface StoreOptions {
  /** Aborted when nobody waits for the result any more. A store may then give up, or finish; never half. */
  readonly signal?: AbortSignal
}

export interface AppendOptions extends StoreOptions {
  /** Size of the whole file in bytes, to be remembered from the first append on. */
  readonly total: number
  /** Resolve only after all bytes held would survive a loss of power: the caller is about to promise them. */
  readonly durable: boolean
  /**
   * Whether `publish` follows at once: then `total` may be remembered no sooner than that the file stands, or that
   * `publish` failed. Default: false.
   */
  readonly publishes?: boolean
}

/**
 * Where sessions and their bytes rest. One verb a method; the caller holds the session's lock, so that of one session
 * only one method runs at a time; not so `list`, `load` and `loadReply` for the download of a reply, and a call that was
 * given up after `storeTimeout` and goes on. A `session` argument is what `create`, `load`, or `append` after
 * them, returned under that lock: a store may carry more in it than the contract names. What was done meanwhile to
 * that session it need not show: one that was loaded, accepted and then published may still say `receiving`. Methods may reject with a `BitsError`, which goes to
 * the client as it is; any other rejection is answered with a 5xx, and the client will come back.
 */
export interface Store {
  /** Locks that hold among all who share what the store stands on. Without it they hold within this process. */
  readonly locker?: Locker

  /**
   * Begins a session. It must be found by `load` from any process that shares the store.
   *
   * Rejects with `destination-exists` if the name is taken and `overwrite` is off (publishing checks again),
   * `invalid-destination` if it is a folder, `destination-not-found` if its folder does not exist (a store
   * without folders never does), and then leaves nothing behind.
   * @returns the session as `load` would tell it now
   */
  create(session: NewSession, options?: StoreOptions): Promise<Session>

  /** The session as it is now, asked of what is really held, never of a memory; undefined if it is not known. */
  load(id: string, options?: StoreOptions): Promise<Session | undefined>

  /**
   * Gives back what the store keeps open for a session: the caller is about to let go of it. Only for stores of which a
   * session may be kept from one packet to the next, as long as its lock is, for a second or two, without asking `load`
   * again. After a method failed it is asked in any case. May be called more than once, and before a method that was
   * given up has come to its end; the session may still be used. Must not throw. What was only loaded or listed is
   * not released.
   */
  release?(session: Session): void

  /**
   * Writes a body behind the bytes that are held (`session.received`), in bounded memory, and marks progress even if
   * the body is empty. When the body throws, all batches that it gave before are kept and counted by `load`, and its
   * error is passed on. When writing fails, what `load` counts is there.
   * @returns the session as `load` would tell it now
   */
  append(session: Session, body: Body, options: AppendOptions): Promise<Session>

  /** Remembers, durably, that `onUpload` took the upload, and what it made of it: the state `accepted`. */
  accept(session: Session, decision: Decision, options?: StoreOptions): Promise<void>

  /**
   * Remembers, durably, that `onUpload` rejected the upload for good: the state `rejected`. Its bytes are of no use any more.
   * @param reason for the operator
   */
  reject(session: Session, reason: string, options?: StoreOptions): Promise<void>

  /**
   * Makes the complete upload appear under its name, atomically and durably: at no moment, and after no crash, does a
   * part of it stand there. Exclusively, if the session may not overwrite: `destination-exists` if the name is taken.
   * Called again after a crash, it publishes only what was not published.
   */
  publish(session: Session, options?: StoreOptions): Promise<void>

  /** The bytes held, as a stream; what was published is no longer the store's to read. For `onUpload`. */
  read(session: Session): Readable

  /** Only for stores that keep sessions in files, where programs on the same machine may want to look at them. */
  paths?(session: Session): SessionPaths

  /**
   * Keeps the reply to an upload, in place of an earlier one, durably when it resolves. When the body throws, its error is
   * passed on.
   * @param body left out: what stands in `paths(session).reply` already, nothing being an empty reply
   */
  saveReply(session: Session, body?: Body, options?: StoreOptions): Promise<void>

  /** The reply that was kept; undefined if there is none. */
  loadReply(session: Session, options?: StoreOptions): Promise<StoredReply | undefined>

  /** Forgets the session, its reply, and the bytes that it still holds; never what was published. No error if there is
   * none. */
  remove(session: Session, options?: StoreOptions): Promise<void>

  /** All sessions, in any order, those that come and go meanwhile perhaps among them. Never all in memory at once.
   * A store may clear away meanwhile what crashes left behind. */
  list(options?: StoreOptions): AsyncIterable<Session>
}
