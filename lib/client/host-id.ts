import type { ClientSession } from './session.ts'

/** The URL that the packets of a session go to: with a Host-Id its host is another, all else stays ([MC-BUP] 2.2.3.2). */
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

/** When the fallback timer has expired, all further packets go to the original host ([MC-BUP] 3.1.6.3). */
export function expireHostId(session: ClientSession | undefined, now: number): void {
  if (session?.hostId?.fallbackTimeout === undefined || session.failingSince === undefined) return
  if (now - session.failingSince < session.hostId.fallbackTimeout * 1000) return
  delete session.hostId
  delete session.failingSince
}
