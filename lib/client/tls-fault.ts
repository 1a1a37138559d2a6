import type { TLSSocket } from 'node:tls'
import { tls } from '../builtins.ts'

/** What is known about the TLS connection that failed. */
export interface TlsState {
  /** The handshake had succeeded. Under TLS 1.3 a server checks the client's certificate after that. */
  readonly connected: boolean
  /** The client has a certificate. */
  readonly hasCertificate: boolean
  /** The server requested one. */
  readonly certificateRequested: boolean
}

export const NoTls =
  'The server does not use TLS on this port; write http:// in the URL, or the port of https.'
const certificateMissing = 'The server requires a client certificate; pass one, with its key.'
const noCommonVersion =
  'Server and client have no version of TLS, or no cipher, in common; change the versions that one of them permits.'

interface TlsFaultRule {
  readonly when: (text: string, state: TlsState) => boolean
  readonly fault: string
}

const mentions = (pattern: RegExp) => (text: string) => pattern.test(text)

/**
 * Errors of OpenSSL that a further attempt does not change. They are matched in code and message: Node gives
 * some of them the code `EPROTO`. The first matching rule applies.
 */
const tlsFaultRules: readonly TlsFaultRule[] = [
  {
    when: (text, { connected }) =>
      !connected && /wrong version number|packet length too long|http request/.test(text),
    fault: NoTls,
  },
  { when: mentions(/alert certificate required/), fault: certificateMissing },
  {
    when: (text, { hasCertificate, certificateRequested }) =>
      /alert (handshake failure|bad certificate)/.test(text) && certificateRequested && !hasCertificate,
    fault: certificateMissing,
  },
  {
    when: mentions(/alert (bad certificate|certificate|unsupported certificate|unknown ca|access denied)/),
    fault: 'The server refuses the client certificate; pass one that it trusts.',
  },
  {
    when: (text, { hasCertificate }) => /alert handshake failure/.test(text) && !hasCertificate,
    fault: `The server requires a client certificate, and there is none; or else: ${noCommonVersion[0]?.toLowerCase()}${noCommonVersion.slice(1)}`,
  },
  {
    when: mentions(
      /alert handshake failure|alert insufficient security|protocol version|unsupported protocol|no protocols available|no shared cipher|no ciphers available/,
    ),
    fault: noCommonVersion,
  },
]

/** Why no attempt to connect can succeed, and what to do; undefined if the error may pass. */
export function tlsFault(error: unknown, state: TlsState): string | undefined {
  const { code = '', message = '' } = (error ?? {}) as NodeJS.ErrnoException
  if (!/^(?:EPROTO$|ERR_SSL_|ERR_TLS_)/.test(code)) return undefined
  const text = `${code} ${message}`.toLowerCase().replaceAll('_', ' ')
  return tlsFaultRules.find(({ when }) => when(text, state))?.fault
}

/**
 * Whether the server requested a client certificate. The list is that of the server's request
 * (SSL_get_shared_sigalgs); without a request it is empty.
 */
export const requestedCertificate = (socket: TLSSocket | null): boolean =>
  (socket?.getSharedSigalgs?.() ?? []).length > 0

/** The host to connect to, which for an IPv6 address has no brackets. */
export const hostOf = ({ hostname }: URL): string => hostname.replace(/^\[(.*)\]$/, '$1')
export const portOf = ({ port, protocol }: URL): number => Number(port || (protocol === 'https:' ? 443 : 80))

export const UseHttps = 'The server uses TLS on this port; write https:// in the URL, or the port of http.'

/** Whether bytes are those of a TLS record: an alert or a handshake message. */
export const isTlsRecord = (bytes: Uint8Array | undefined): boolean =>
  (bytes?.[0] === 0x15 || bytes?.[0] === 0x16) && bytes[1] === 0x03

/** Milliseconds of a probe: several round trips of a satellite connection. */
const ProbeTimeoutMs = 2_000

/** Whether a server makes TLS connections at a port. */
export function speaksTls(host: string, port: number, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    // No certificate is checked, because nothing is sent.
    const socket = tls().connect({ host, port, rejectUnauthorized: false })
    const finish = (result: boolean): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      resolve(result)
      socket.destroy()
    }
    const abort = (): void => finish(false)
    const timer = setTimeout(abort, ProbeTimeoutMs)
    signal?.addEventListener('abort', abort, { once: true })
    socket
      .on('error', abort)
      .on('close', abort)
      .on('secureConnect', () => finish(true))
  })
}
