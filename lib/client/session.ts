import type { AssignedHost } from './ack.ts'

/**
 * The client's state of its session on the server, with everything that another process needs to resume it.
 * It changes while the upload advances; the job file contains a copy.
 */
export interface ClientSession {
  readonly id: string
  /** The host that the session's packets go to; absent: that of the URL. */
  hostId?: AssignedHost | undefined
  /**
   * When that host failed first since its last success, in milliseconds since 1970; absent: it did not fail.
   */
  failingSince?: number | undefined
  /** Bytes that the server holds from byte 0, as of its last Ack, which may correct it in both directions. */
  offset: number
  /** The next step of the upload. */
  stage: 'fragment' | 'reply' | 'close-session'
  /** Spelled as in the server's Ack. */
  replyUrl?: string
  /** True if a Close-Session may have reached the server and its Ack was lost. */
  closeSent?: boolean
}

/** The URL of a session's packets: a Host-Id replaces the host and nothing else ([MC-BUP] 2.2.3.2). */
export function sessionUrl(destination: URL, session: ClientSession | undefined): URL {
  const host = session?.hostId?.host
  if (host === undefined) return destination
  const url = new URL(destination)
  url.hostname = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
  return url
}

/** Starts the fallback timer at the first failure while there is a Host-Id ([MC-BUP] 3.1.5.1.7). */
export function onFailure(session: ClientSession | undefined, now: number): void {
  if (session?.hostId) session.failingSince ??= now
}

/** Stops the fallback timer after a Fragment that succeeded ([MC-BUP] 3.1.5.1.4). */
export function onSuccess(session: ClientSession): void {
  delete session.failingSince
}

/** After the fallback timer has expired, all packets go to the original host ([MC-BUP] 3.1.6.3). */
export function expireHostId(session: ClientSession | undefined, now: number): void {
  if (session?.hostId?.fallbackTimeout === undefined || session.failingSince === undefined) return
  if (now - session.failingSince < session.hostId.fallbackTimeout * 1000) return
  delete session.hostId
  delete session.failingSince
}
