import type { IncomingMessage } from 'node:http'
import type { HostId } from '../protocol/ack.ts'
import { readSize, type Size } from '../protocol/size.ts'
import type { Hooks, SessionSettings } from '../sessions/hooks.ts'
import { fileStore } from '../stores/file/index.ts'
import type { Store } from '../stores/store.ts'
import { withTimeout } from '../stores/timeout.ts'
import { assertKnownKeys, isPlainObject, MaxTimerMs } from '../validate.ts'

/**
 * Options of `bitsUpload`. Only `store` is required. In brackets: the property of IIS that an option stands for.
 *
 * `Caller` is the type of the request that hooks get: with Express, its `Request`.
 */
export interface BitsUploadOptions<Caller extends IncomingMessage = IncomingMessage> extends Hooks<Caller> {
  /** A directory for the file store (it is made when the first upload begins), or a store. Never guessed. */
  readonly store: string | Store

  /**
   * Largest file. A client with a larger one is told BG_E_TOO_LARGE when its first fragment says so.
   * Default: `'10gb'`. [BITSMaximumUploadSize, there 1.6 PiB]
   */
  readonly maxSize?: Size

  /**
   * Largest fragment. A client with a larger one is told 413 and makes smaller ones. Fragments are streamed, so memory
   * does not ask for a limit. Default: `maxSize`. [maxAllowedContentLength of IIS's request filter, there 30 MB]
   */
  readonly maxFragmentSize?: Size

  /** Sessions open at once, in all. Above it Create-Session is answered 503: come again. Default: 10000. */
  readonly maxSessions?: number

  /**
   * Sessions open at once of each owner that `authorize` names. Above it 503, too.
   * Default: 50. [BITSNumberOfSessionsLimit; BITSSessionLimitEnable = 0 is `Infinity`]
   */
  readonly maxSessionsPerOwner?: number

  /** Whether an upload may replace a file. Default: false. [BITSAllowOverwrites] */
  readonly overwrite?: boolean

  /**
   * Milliseconds without progress after which a session is removed, with what came of its file.
   * Default: 14 days, as long as Windows keeps trying. [BITSSessionTimeout, in seconds]
   */
  readonly expireAfter?: number

  /**
   * Milliseconds between two searches for sessions to remove; the first is when the first session begins.
   * Default: 12 hours; 0: only when `sweep()` is called. [BITSCleanupUseDefault, BITSCleanupCount, BITSCleanupUnits]
   */
  readonly sweepEvery?: number

  /**
   * Milliseconds without a byte after which a fragment is given up; what came of it is kept.
   * Default: 2 minutes, a client's own limit. (`server.requestTimeout` of Node limits a whole fragment, see README.)
   */
  readonly idleTimeout?: number

  /**
   * Milliseconds that a call of the store may take before it counts as failed: 500, and the client comes back.
   * Default: 4 minutes, for Windows waits 5 for an answer.
   */
  readonly storeTimeout?: number

  /**
   * When the file appears under its name: with the last fragment, before its Ack, as Windows' servers do, or when the
   * client closes the session, as the open specification says. Default: `'last-fragment'`.
   */
  readonly commitOn?: 'last-fragment' | 'close'

  /** HTTP status of the Ack for Create-Session: 200, or 201 for clients that insist on it. Default: 200. */
  readonly createStatus?: 200 | 201

  /**
   * The host that a session's later packets are to be sent to, where several share the URL but not the store: a name or
   * address without port, or with the seconds of failing after which a client goes back to the URL's own host.
   * Default: none; seconds: 86400. [BITSHostId, BITSHostIdFallbackTimeout]
   */
  readonly hostId?: string | { readonly host: string; readonly fallbackTimeout?: number }

  /**
   * Whether uploads are taken; a function is asked for every packet. While not, every packet is answered 501, which
   * ends clients' jobs, and a sweep removes all sessions; before the first Create-Session that was taken only `sweep()` is one. Default: true. [BITSUploadEnabled]
   */
  readonly enabled?: boolean | (() => boolean)
}

/** The options, checked and defaulted: bytes, milliseconds. */
export interface Settings<Caller> extends SessionSettings<Caller> {
  readonly idleTimeout: number
  readonly sweepEvery: number
}

const DayMs = 24 * 60 * 60 * 1000
const optionNames = [
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
  'commitOn',
  'createStatus',
  'hostId',
  'enabled',
  'authorize',
  'onCreate',
  'onUpload',
] as const satisfies (keyof BitsUploadOptions)[]

/** @throws {TypeError} that names the option, what it takes and, for an unknown name, the nearest known one */
export function readBitsUploadOptions<Caller extends IncomingMessage>(
  options: BitsUploadOptions<Caller>,
): Settings<Caller> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError("bitsUpload: pass options, at least { store: './incoming' }")
  }
  assertKnownKeys('bitsUpload', 'option', options, optionNames)
  const { authorize, onCreate, onUpload, enabled = true } = options
  for (const [name, hook] of Object.entries({ authorize, onCreate, onUpload })) {
    if (hook !== undefined && typeof hook !== 'function') throw optionError(name, 'a function', hook)
  }
  if (typeof enabled !== 'boolean' && typeof enabled !== 'function') {
    throw optionError('enabled', 'true, false or a function that returns one of them', enabled)
  }
  const maxSize = readSizeOption('maxSize', options.maxSize ?? '10gb')
  return Object.freeze({
    store: withTimeout(
      readStore(options.store),
      readTimerOption('storeTimeout', options.storeTimeout ?? 240_000, 1),
    ),
    maxSize,
    maxFragmentSize: readSizeOption('maxFragmentSize', options.maxFragmentSize ?? maxSize),
    maxSessions: readCountOption('maxSessions', options.maxSessions ?? 10_000),
    maxSessionsPerOwner: readCountOption('maxSessionsPerOwner', options.maxSessionsPerOwner ?? 50),
    overwrite: readOneOf('overwrite', [false, true], options.overwrite),
    expireAfter: readDurationOption('expireAfter', options.expireAfter ?? 14 * DayMs, 1),
    sweepEvery: readTimerOption('sweepEvery', options.sweepEvery ?? DayMs / 2, 0),
    idleTimeout: readTimerOption('idleTimeout', options.idleTimeout ?? 120_000, 1),
    commitOn: readOneOf('commitOn', ['last-fragment', 'close'], options.commitOn),
    createStatus: readOneOf('createStatus', [200, 201], options.createStatus),
    hostId: options.hostId === undefined ? undefined : readHostIdOption(options.hostId),
    enabled: () => evaluateEnabled(enabled),
    ...(authorize && { authorize }),
    ...(onCreate && { onCreate }),
    ...(onUpload && { onUpload }),
  })
}

const optionError = (name: string, expected: string, value: unknown): TypeError => {
  const shown = typeof value === 'string' ? `'${value}'` : String(value)
  return new TypeError(`bitsUpload: option '${name}' takes ${expected}, not ${shown}`)
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
] as const

/** @throws {TypeError} for an answer that is none: a promise would count as yes for ever */
function evaluateEnabled(enabled: boolean | (() => boolean)): boolean {
  const answer = typeof enabled === 'function' ? enabled() : enabled
  if (typeof answer === 'boolean') return answer
  throw new TypeError(`enabled() returns true or false, not ${String(answer)}`)
}

function readStore(store: string | Store | undefined): Store {
  if (typeof store === 'string' && store !== '') return fileStore(store)
  if (typeof store !== 'object' || store === null) {
    throw optionError('store', "a directory such as './incoming', or a store", store)
  }
  const missing = storeMethods.filter((verb) => typeof store[verb] !== 'function')
  if (missing.length > 0)
    throw optionError(
      'store',
      `a store with the methods ${storeMethods.join(', ')}`,
      `one without ${missing}`,
    )
  return store
}

function readSizeOption(name: string, value: Size): number {
  const parsed = readSize(value)
  if (parsed === undefined) {
    throw optionError(name, "a number of bytes from 1 to 2^53 - 1, or a string such as '10gb'", value)
  }
  return parsed
}

function readCountOption(name: string, value: number): number {
  if (value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= 0)) return value
  throw optionError(name, 'a number of sessions, or Infinity', value)
}

function readDurationOption(name: string, value: number, least: number): number {
  if (typeof value === 'number' && value >= least) return value
  throw optionError(name, `a number of milliseconds, at least ${least}`, value)
}

/** A duration that a timer is to run for. */
function readTimerOption(name: string, value: number, least: number): number {
  if (value <= MaxTimerMs) return readDurationOption(name, value, least)
  throw optionError(name, `a number of milliseconds from ${least} to ${MaxTimerMs} (24.8 days)`, value)
}

function readOneOf<const T>(name: string, values: readonly [T, ...T[]], value: T | undefined): T {
  if (value === undefined) return values[0]
  if (values.includes(value)) return value
  throw optionError(
    name,
    values.map((v) => (typeof v === 'string' ? `'${v}'` : String(v))).join(' or '),
    value,
  )
}

function readHostIdOption(hostId: NonNullable<BitsUploadOptions['hostId']>): HostId {
  const given: unknown = typeof hostId === 'string' ? { host: hostId } : hostId
  if (!isPlainObject(given)) throw optionError('hostId', 'a host, or { host, fallbackTimeout }', given)
  assertKnownKeys('bitsUpload', 'hostId option', given, ['host', 'fallbackTimeout'])
  const { host, fallbackTimeout = 86_400 } = given as { host?: string; fallbackTimeout?: number }
  // [MC-BUP] 2.2.3.2: a host of RFC 1738, or an IPv6 address; IIS takes 300 characters.
  if (typeof host !== 'string' || !/^(?:[a-z0-9.-]{1,300}|\[?[0-9a-f:.]{2,45}\]?)$/i.test(host)) {
    throw optionError('hostId', "a host name or address without port, such as 'node3.example'", host)
  }
  if (!Number.isSafeInteger(fallbackTimeout) || fallbackTimeout < 0 || fallbackTimeout > 0xffffffff) {
    throw optionError('hostId', 'a fallbackTimeout in whole seconds from 0 to 4294967295', fallbackTimeout)
  }
  return { host, fallbackTimeout }
}
