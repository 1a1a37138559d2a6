import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { readSize, type Size } from '../protocol/size.ts'
import { assertKnownKeys, isPlainObject, MaxTimerMs } from '../validate.ts'
import type { Credentials } from './auth.ts'
import { LargestFragment } from './fragment.ts'
import type { UploadProgress } from './progress.ts'
import type { RetrySettings } from './retry-policy.ts'
import type { TlsOptions, TransportSettings } from './transport.ts'

/** Options of both `uploadFile` and `cancelUpload`. */
export interface ConnectionSettings {
  /** Credentials for Basic or Digest, sent only when the server asks for them. Default: none. */
  readonly auth?: Credentials

  /** Header fields for every packet, a token for example. They are not written to the job file. */
  readonly headers?: Readonly<Record<string, string>>

  /** For https, as for Node's `tls.connect`: `ca`, or `cert` and `key` for a client certificate, and the like. */
  readonly tls?: TlsOptions

  /** Milliseconds without progress in sending after which a connection is given up. Default: 2 minutes. */
  readonly sendTimeout?: number

  /** Milliseconds to wait for an answer; the server may have to work on the last fragment. Default: 5 minutes. */
  readonly responseTimeout?: number

  /** Milliseconds until the second try; then twice that and so on, of each a random share. Default: 1 second. */
  readonly retryDelay?: number

  /** Milliseconds that they grow to. Default: 1 minute. (Windows: 10 minutes, but nobody watches it.) */
  readonly maxRetryDelay?: number

  /**
   * Milliseconds of failing, without progress, after which to give up; 0: at the first failure.
   * Default: 14 days for an upload, as long as servers keep sessions; a day for a cancellation.
   */
  readonly noProgressTimeout?: number

  /** Stops when it is aborted; the promise rejects with its reason. */
  readonly signal?: AbortSignal
}

/** Options of `uploadFile`. */
export interface UploadOptions extends ConnectionSettings {
  /**
   * A file that remembers the upload, so that another process can go on with it: made when the session begins, removed
   * when all is done. If it is there, it has to be that of the same source and URL. Default: none.
   */
  readonly job?: string

  /**
   * Where a reply goes, if the server has one: a path, or a stream, which is ended then, and destroyed if the upload ends
   * before; false: it is not fetched.
   * Default: into memory, as `reply.data` of the result.
   */
  readonly reply?: string | URL | Writable | false

  /** The largest reply. Default: `'1mb'` in memory, `'10gb'` elsewhere. */
  readonly maxReplySize?: Size

  /** The largest fragment; sizes adapt to the line between 5 KB and this. Default: `'13mb'`. */
  readonly maxFragmentSize?: Size

  /**
   * Told how it goes: at every step, and ten times a second while bytes are sent. An exception ends the upload.
   */
  readonly onProgress?: (progress: UploadProgress) => void
}

/** Options of `cancelUpload`. */
export type CancelOptions = ConnectionSettings

/** The options of both, checked and defaulted. */
export interface CommonSettings extends TransportSettings, RetrySettings {
  readonly auth: Credentials | undefined
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly signal: AbortSignal | undefined
}

export interface UploadSettings extends CommonSettings {
  readonly job: string | undefined
  readonly reply: string | Writable | false | undefined
  readonly maxReplySize: number
  readonly maxFragmentSize: number
  readonly onProgress: ((progress: UploadProgress) => void) | undefined
}

const DayMs = 24 * 60 * 60 * 1000
const common = [
  'auth',
  'headers',
  'tls',
  'sendTimeout',
  'responseTimeout',
  'retryDelay',
  'maxRetryDelay',
  'noProgressTimeout',
  'signal',
] as const satisfies (keyof ConnectionSettings)[]

const optionNames = [
  ...common,
  'job',
  'reply',
  'maxReplySize',
  'maxFragmentSize',
  'onProgress',
] as const satisfies (keyof UploadOptions)[]

type Where = 'uploadFile' | 'cancelUpload'

const optionError = (where: Where, name: string, expected: string, value: unknown): TypeError => {
  const shown = typeof value === 'string' ? `'${value}'` : String(value)
  return new TypeError(`${where}: option '${name}' takes ${expected}, not ${shown}`)
}

/** @throws {TypeError} that names the option, what it takes and, for an unknown name, the nearest known one */
export function readUploadOptions(options: UploadOptions): UploadSettings {
  const settings = readCommon('uploadFile', optionNames, options, 14 * DayMs)
  const { job, onProgress, reply } = options
  const fail = (name: string, expected: string, value: unknown) =>
    optionError('uploadFile', name, expected, value)
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw fail('onProgress', 'a function', onProgress)
  }
  if (job !== undefined && (typeof job !== 'string' || job === '')) throw fail('job', 'a path', job)
  const size = (name: string, value: Size): number => {
    const parsed = readSize(value)
    if (parsed !== undefined) return parsed
    throw fail(name, "a number of bytes from 1 to 2^53 - 1, or a string such as '10gb'", value)
  }
  const target = readReplyDestination(reply)
  return {
    ...settings,
    job,
    reply: target,
    maxReplySize: size('maxReplySize', options.maxReplySize ?? (target === undefined ? '1mb' : '10gb')),
    maxFragmentSize: size('maxFragmentSize', options.maxFragmentSize ?? LargestFragment),
    onProgress,
  }
}

/** @throws {TypeError} as {@link readUploadOptions} does */
export const readCancelOptions = (options: CancelOptions): CommonSettings =>
  readCommon('cancelUpload', common, options, DayMs)

/** @throws {TypeError} for what no upload can have as its URL, with what to write instead */
export function readUploadUrl(value: string | URL): URL {
  const url = URL.canParse(String(value)) ? new URL(String(value)) : undefined
  const fail = (reason: string): TypeError => new TypeError(`uploadFile: the URL ${reason}`)
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw fail(`is one such as 'https://host/upload/file.txt', not '${value}'`)
  }
  if (url.username || url.password) throw fail('may not have credentials in it; pass them as `auth`')
  // It would not be sent, and the file would get another name.
  if (url.href.includes('#')) throw fail("has a '#'; write it as %23 if it belongs to the name")
  return url
}

function readCommon(
  where: Where,
  names: readonly string[],
  options: ConnectionSettings,
  timeout: number,
): CommonSettings {
  if (!isPlainObject(options)) throw new TypeError(`${where}: the options are an object`)
  assertKnownKeys(where, 'option', options, names)
  const { auth, headers = {}, tls = {}, signal } = options as ConnectionSettings
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw optionError(where, 'signal', 'an AbortSignal', signal)
  }
  if (typeof tls !== 'object' || tls === null) throw optionError(where, 'tls', 'options of tls.connect', tls)
  const delay = (
    name: keyof CommonSettings & keyof ConnectionSettings,
    standard: number,
    least: number,
  ): number => {
    const value: unknown = options[name] ?? standard
    if (typeof value === 'number' && value >= least && value <= MaxTimerMs) return value
    throw optionError(
      where,
      name,
      `a number of milliseconds from ${least} to ${MaxTimerMs} (24.8 days)`,
      value,
    )
  }
  const retryDelay = delay('retryDelay', 1000, 1)
  return {
    auth: readAuth(where, auth, headers),
    headers: readHeaders(where, headers),
    tls,
    signal,
    sendTimeout: delay('sendTimeout', 120_000, 1),
    responseTimeout: delay('responseTimeout', 300_000, 1),
    retryDelay,
    maxRetryDelay: Math.max(retryDelay, delay('maxRetryDelay', 60_000, 1)),
    noProgressTimeout: delay('noProgressTimeout', timeout, 0),
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what it looks for
const control = /[\u0000-\u001f\u007f]/

function readAuth(where: Where, auth: unknown, headers: object): Credentials | undefined {
  if (auth === undefined) return undefined
  const fail = (expected: string): TypeError =>
    // What was passed may well be a password.
    new TypeError(`${where}: option 'auth' takes ${expected}`)
  if (!isPlainObject(auth)) throw fail('{ user, password }')
  assertKnownKeys(where, 'auth option', auth, ['user', 'password'])
  const { user, password } = auth
  if (typeof user !== 'string' || typeof password !== 'string') throw fail('{ user, password }, both strings')
  if (user.includes(':') || control.test(user + password)) {
    throw fail('a user without colon, and neither may have control characters')
  }
  if (Object.keys(headers).some((name) => name.toLowerCase() === 'authorization')) {
    throw fail("nothing if 'headers' have Authorization")
  }
  return { user, password }
}

/** What the client itself has to say with each packet. */
const reserved = new RegExp(
  '^(?:bits-.*|accept|accept-encoding|connection|content-.*|expect|host|if-range|keep-alive|range|te|trailer|' +
    'transfer-encoding|upgrade)$',
  'i',
)

function readHeaders(where: Where, headers: unknown): [string, string][] {
  if (!isPlainObject(headers)) throw optionError(where, 'headers', 'an object of strings', headers)
  return Object.entries(headers).map(([name, value]) => {
    if (typeof value !== 'string') throw optionError(where, `headers.${name}`, 'a string', value)
    if (reserved.test(name)) throw new TypeError(`${where}: the header field ${name} is the client's own`)
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (cause) {
      throw new TypeError(`${where}: option 'headers' has a field that HTTP cannot send: ${name}`, { cause })
    }
    return [name, value]
  })
}

function readReplyDestination(reply: UploadOptions['reply']): UploadSettings['reply'] {
  if (reply === undefined || reply === false) return reply
  if (reply instanceof URL) return fileURLToPath(reply)
  const isStream = typeof reply === 'object' && reply !== null && typeof reply.write === 'function'
  if (isStream || (typeof reply === 'string' && reply !== '')) return reply
  throw optionError('uploadFile', 'reply', 'a path, a writable stream or false', reply)
}
