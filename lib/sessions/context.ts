import { BitsError } from '../protocol/errors.ts'
import type { Body, Session } from '../stores/store.ts'
import type { UploadEvents } from './events.ts'
import type { SessionSettings } from './hooks.ts'
import type { SessionQuota } from './quota.ts'
import type { Interruptible, LockedSession, SessionCache, SessionRequest } from './session-cache.ts'

/** What the packet handlers share. */
export interface SessionDependencies<Caller> {
  readonly settings: SessionSettings<Caller>
  readonly cache: SessionCache
  readonly quota: SessionQuota
  /** Counts the sessions of the store for the quota, unless that was done just now. Resolves to whether it was done. */
  recount(): Promise<boolean>
  readonly events: UploadEvents
  /** Aborted when the middleware is closed. */
  readonly closing: AbortSignal
}

/**
 * The body of a fragment, which can be iterated once. Bytes that arrived before `interrupt`, or before the connection
 * broke, are still yielded; then the iteration throws.
 */
export type FragmentSource = Body & Interruptible

/** One packet on its way to its Ack: who sent it, for which destination, with which body. */
export interface PacketContext<Caller> extends SessionRequest {
  /** The request that hooks get. */
  readonly caller: Caller
  /** The whole URL of the destination, as the client wrote it. */
  readonly url: string
  /** The address of the client, as far as it is known behind a proxy. */
  readonly clientAddress: string | undefined
  /** Aborted when no client waits for the Ack any more, with the reason. */
  readonly signal: AbortSignal
  /** Decoded path of the destination below the mount path. */
  name(): string
  body(): FragmentSource
}

/** Removes a session from the store and from the quota. */
export async function deleteSession<Caller>(
  { settings, quota }: SessionDependencies<Caller>,
  session: Session,
): Promise<void> {
  await settings.store.remove(session)
  quota.release(session)
}

/** How often a change is attempted while other processes, too, change the session. */
export const MaxAttempts = 3

/** Whether a change was rejected because another process has changed the session, or because bytes were lost. */
export const isOutOfSync = (error: unknown): error is BitsError =>
  error instanceof BitsError && error.code === 'out-of-sync'

/**
 * Changes `locked.session`. If another process has changed it meanwhile, loads it and tries again.
 * @throws {BitsError} `session-not-found` if the session was removed; `session-busy` after {@link MaxAttempts}
 */
export async function retryConflicts<Caller, Result>(
  { cache }: SessionDependencies<Caller>,
  locked: LockedSession,
  change: () => Promise<Result>,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await change()
    } catch (error) {
      if (!isOutOfSync(error)) throw error
      if (attempt === MaxAttempts) throw new BitsError('session-busy', error.message, { cause: error })
      if (!(await cache.reload(locked))) throw new BitsError('session-not-found')
    }
  }
}

export async function* emptyBody(): AsyncGenerator<never> {}
