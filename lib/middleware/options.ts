import type { IncomingMessage } from 'node:http'
import { isIPv6 } from 'node:net'
import type { HostId } from '../protocol/ack.ts'
import type { Hooks, SessionSettings } from '../sessions/hooks.ts'
import { fileStore } from '../stores/file/index.ts'
import type { Store } from '../stores/store.ts'
import { withTimeout } from '../stores/timeout.ts'
import {
  assertKnownKeys,
  checkBoolean,
  checkCount,
  checkDuration,
  checkFunction,
  checkOneOf,
  checkSize,
  checkTimer,
  DayMs,
  isPlainObject,
  optionError,
  type Size,
} from '../validate.ts'

/**
 * Options of {@link bitsUpload}. Only `store` is required; no limit is infinite by default. In brackets: the corresponding
 * property of the BITS extension of IIS (win32: BITS IIS extension properties).
 *
 * @typeParam Caller the request that hooks get: with Express, its `Request`
 */
export interface BitsUploadOptions<Caller extends IncomingMessage = IncomingMessage> extends Hooks<Caller> {
  /** A directory for {@link fileStore} (created with the first session), or a store. There is no default. */
  readonly store: string | Store

  /**
   * Maximum size of a file. The first fragment of a larger one is refused with `too-large` (BG_E_TOO_LARGE, 0x80200020),
   * which ends the job of the client ([MC-BUP] 2.2.1.2). Default: `'10gb'`. [BITSMaximumUploadSize, default 1.6 PiB]
   */
  readonly maxSize?: Size

  /**
   * Maximum size of a fragment. A larger one is refused with 413, and the client sends smaller ones, down to 5 KB; Windows
   * sends up to 13 MB. Fragments are streamed, so memory use does not depend on it. Default: `maxSize`.
   * [maxAllowedContentLength of IIS's request filter, default 30 MB]
   */
  readonly maxFragmentSize?: Size

  /**
   * Maximum number of open sessions, or `Infinity`. Above it Create-Session is refused with 503, and clients retry.
   * Default: 10000.
   *
   * While 90 % are open, empty sessions, which never held a byte, are limited, so that one client cannot block all others:
   * those older than 5 minutes are removed, the oldest first, until less than 90 % are open; and a client whose empty
   * sessions are 1 % of `maxSessions`, and at least 10, gets 503 for another one. A client is an owner or, without one, an
   * address (of IPv6 the first 64 bits): `req.ip` of Express, otherwise that of the connection. Behind a proxy set
   * `trust proxy` of Express to the address of the proxy, otherwise all clients count as one. Each process knows the
   * addresses only of the sessions that it created.
   *
   * Each process counts for itself: it sees sessions that other processes created at its sweeps, and sessions that they ended
   * also when a limit seems to be reached, at most once a minute.
   */
  readonly maxSessions?: number

  /**
   * Maximum number of open sessions of each owner that `authorize` returns, or `Infinity`. Above it Create-Session is refused
   * with 503, too. Processes that share a store count for themselves, like `maxSessions`; together they may create more, and a
   * sweep then removes the newest above the limit. For an account that many machines share, use `Infinity`. Default: 50.
   * [BITSNumberOfSessionsLimit; BITSSessionLimitEnable = 0 is `Infinity`]
   */
  readonly maxSessionsPerOwner?: number

  /**
   * Whether an upload can replace an existing file. If not, it is refused with `destination-exists`. Default: false.
   * [BITSAllowOverwrites]
   */
  readonly overwrite?: boolean

  /**
   * Milliseconds without progress after which a sweep removes a session, with the received part of its file, or
   * `Infinity`. Default: 14 days, as long as Windows retries. [BITSSessionTimeout, in seconds]
   *
   * A session is removed only if it is expired at two checks, a minute apart (a hundredth of `expireAfter` if that is less),
   * because the clock may be wrong for a moment.
   */
  readonly expireAfter?: number

  /**
   * Milliseconds between two sweeps, see {@link BitsUpload.sweep}. The first sweep runs when the process has accepted its
   * first Create-Session. 0: only when `sweep()` is called. Default: 12 hours. [BITSCleanupUseDefault, BITSCleanupCount,
   * BITSCleanupUnits]
   */
  readonly sweepEvery?: number

  /**
   * Milliseconds without a byte after which a fragment is aborted with 408; its received bytes are kept, and the client
   * continues after them. Default: 2 minutes, as in clients.
   *
   * `server.requestTimeout` of Node, 5 minutes by default, limits a whole fragment instead. Set it to 0, because a fragment of
   * 13 MB takes longer over a slow line.
   */
  readonly idleTimeout?: number

  /**
   * Milliseconds after which a call of the store fails: the packet is answered with 500, and the client
   * retries. While the call still runs, further packets of its session are answered with 500, too, because both could
   * change its files at the same time. Not so with an object service: there a late call changes nothing that they have
   * changed. Default: 4 minutes, because Windows waits 5 minutes for an Ack.
   */
  readonly storeTimeout?: number

  /**
   * Milliseconds without a sign of life of another process that works on a session (it is stopped, or its event loop is
   * blocked), after which a packet of that session is answered with 503 `session-busy`, and the client retries. With an object
   * service: milliseconds that a packet waits while another process calls `onUpload` for its session. Default: 30 seconds.
   */
  readonly lockTimeout?: number

  /**
   * When the file is published: with the last fragment, before its Ack, as IIS does, or with Close-Session,
   * as the open specification says ([MC-BUP] 3.2.5.2.7). Default: `'last-fragment'`.
   */
  readonly commitOn?: 'last-fragment' | 'close'

  /**
   * HTTP status of the Ack for Create-Session: 200, or 201 for clients that require it (win32: Ack for Create-Session). Default: 200.
   */
  readonly createStatus?: 200 | 201

  /**
   * The host that a session's later packets go to, for servers that share the URL but not the store ([MC-BUP] 2.2.3.2). A
   * string is the `host` of an object with the defaults. Default: none.
   */
  readonly hostId?:
    | string
    | {
        /** A name or address without port. Clients use the port and the path of the URL. [BITSHostId] */
        readonly host: string
        /**
         * Seconds of failures after which a client returns to the host of the URL, from 0 to 4294967295, which means never.
         * Default: 86400, a day. [BITSHostIdFallbackTimeout]
         */
        readonly fallbackTimeout?: number
      }

  /**
   * Whether uploads are accepted; a function is called for every packet, and must return a boolean. While false, every packet
   * is answered with 501, which ends the jobs of clients, and each sweep removes all sessions with their bytes ([MC-BUP]
   * 3.2.4.2). Sweeps run by themselves only after the first Create-Session that the process accepted; before it, call
   * `sweep()`. For a pause use `close()`, or let a proxy answer 503: then clients retry. Default: true. [BITSUploadEnabled]
   */
  readonly enabled?: boolean | (() => boolean)
}

/** The options, checked and with defaults, in bytes and milliseconds. */
export interface Settings<Caller> extends SessionSettings<Caller> {
  readonly idleTimeout: number
  readonly sweepEvery: number
}

/** The function that error texts name. */
const where = 'bitsUpload'

const bitsUploadOptionNames = [
  'store',
  'maxSize',
  'maxFragmentSize',
  'maxSessions',
  'maxSessionsPerOwner',
  'overwrite',
  'expireAfter',
  'sweepEvery',
  'idleTimeout',
  'storeTimeout',
  'lockTimeout',
  'commitOn',
  'createStatus',
  'hostId',
  'enabled',
  'authorize',
  'onCreate',
  'onUpload',
] as const satisfies (keyof BitsUploadOptions)[]

/** @throws {TypeError} that names the option and what it takes, or a similar name for an unknown one */
export function readBitsUploadOptions<Caller extends IncomingMessage>(
  options: BitsUploadOptions<Caller>,
): Settings<Caller> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError("bitsUpload: pass options, at least { store: './incoming' }")
  }
  assertKnownKeys(where, 'option', options, bitsUploadOptionNames)
  const { overwrite = false, commitOn = 'last-fragment', createStatus = 200, hostId } = options
  const { authorize, onCreate, onUpload, enabled = true } = options
  if (typeof enabled !== 'boolean' && typeof enabled !== 'function') {
    throw optionError(where, 'enabled', 'true, false or a function that returns one of them', enabled)
  }
  checkFunction(where, 'authorize', authorize)
  checkFunction(where, 'onCreate', onCreate)
  checkFunction(where, 'onUpload', onUpload)
  const storeTimeout = checkTimer(where, 'storeTimeout', options.storeTimeout ?? 240_000, 1)
  const maxSize = checkSize(where, 'maxSize', options.maxSize ?? '10gb')
  return Object.freeze({
    store: withTimeout(readStore(options.store), storeTimeout),
    maxSize,
    maxFragmentSize: checkSize(where, 'maxFragmentSize', options.maxFragmentSize ?? maxSize),
    maxSessions: checkCount(where, 'maxSessions', options.maxSessions ?? 10_000, 'sessions'),
    maxSessionsPerOwner: checkCount(
      where,
      'maxSessionsPerOwner',
      options.maxSessionsPerOwner ?? 50,
      'sessions',
    ),
    overwrite: checkBoolean(where, 'overwrite', overwrite),
    expireAfter: checkDuration(where, 'expireAfter', options.expireAfter ?? 14 * DayMs, 1),
    sweepEvery: checkTimer(where, 'sweepEvery', options.sweepEvery ?? DayMs / 2, 0),
    idleTimeout: checkTimer(where, 'idleTimeout', options.idleTimeout ?? 120_000, 1),
    lockTimeout: checkTimer(where, 'lockTimeout', options.lockTimeout ?? 30_000, 1),
    commitOn: checkOneOf(where, 'commitOn', commitOn, ['last-fragment', 'close']),
    createStatus: checkOneOf(where, 'createStatus', createStatus, [200, 201]),
    hostId: hostId === undefined ? undefined : readHostIdOption(hostId),
    enabled,
    ...(authorize && { authorize }),
    ...(onCreate && { onCreate }),
    ...(onUpload && { onUpload }),
  })
}

const storeMethods = [
  'create',
  'load',
  'append',
  'accept',
  'reject',
  'publish',
  'read',
  'saveReply',
  'loadReply',
  'remove',
  'list',
] as const satisfies (keyof Store)[]

function readStore(store: string | Store | undefined): Store {
  if (typeof store === 'string' && store !== '') return fileStore(store)
  if (typeof store !== 'object' || store === null) {
    throw optionError(where, 'store', "a directory such as './incoming', or a store", store)
  }
  const missing = storeMethods.filter((method) => typeof store[method] !== 'function')
  if (missing.length > 0) {
    const expected = `a store with the methods ${storeMethods.join(', ')}`
    throw optionError(where, 'store', expected, `one without ${missing}`)
  }
  return store
}

function readHostIdOption(hostId: NonNullable<BitsUploadOptions['hostId']>): HostId {
  const parts: unknown = typeof hostId === 'string' ? { host: hostId } : hostId
  if (!isPlainObject(parts)) throw optionError(where, 'hostId', 'a host, or { host, fallbackTimeout }', parts)
  assertKnownKeys(where, 'hostId option', parts, ['host', 'fallbackTimeout'])
  const { host, fallbackTimeout = 86_400 } = parts
  // [MC-BUP] 2.2.3.2: a host of RFC 1738, or an IPv6 address; IIS accepts up to 300 characters.
  const isHost = typeof host === 'string' && (/^[a-z0-9.-]{1,300}$/i.test(host) || isPlainIPv6(host))
  if (!isHost) {
    throw optionError(where, 'hostId', "a host name or address without port, such as 'node3.example'", host)
  }
  return {
    host,
    fallbackTimeout: checkCount(
      where,
      'hostId.fallbackTimeout',
      fallbackTimeout,
      'seconds',
      MaxFallbackSeconds,
    ),
  }
}

/** Whether this is an IPv6 address, with or without brackets, and not a host with a port such as `10.0.0.5:80`. */
const isPlainIPv6 = (host: string): boolean =>
  isIPv6(/^\[(.*)\]$/.exec(host)?.[1] ?? host) && !host.includes('%')

/** The largest value of BITS-Host-Id-Fallback-Timeout, 32 bits, which means "never" ([MC-BUP] 3.1.2.3). */
const MaxFallbackSeconds = 0xffffffff
