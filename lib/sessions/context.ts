import type { Body, Session } from '../stores/store.ts'
import type { UploadEvents } from './events.ts'
import type { SessionSettings } from './hooks.ts'
import type { SessionQuota } from './quota.ts'
import type { Interruptible, SessionCache, SessionRequest } from './session-cache.ts'

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

export async function* emptyBody(): AsyncGenerator<never> {}
