import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { http } from '../builtins.ts'
import {
  assertKnownKeys,
  checkFunction,
  checkSize,
  checkTimer,
  DayMs,
  isPlainObject,
  optionError,
  type Size,
} from '../validate.ts'
import type { Credentials } from './auth.ts'
import type { TlsOptions } from './connections.ts'
import { LargestFragment } from './fragment.ts'
import type { UploadProgress } from './progress.ts'
import type { RetrySettings } from './retry-policy.ts'
import type { TransportSettings } from './transport.ts'

/** Options of both `uploadFile` and `cancelUpload`. */
export interface ConnectionSettings {
  /** Credentials for Basic or Digest, sent only after the server asked for them. Default: none. */
  readonly auth?: Credentials

  /**
   * Header fields of every packet, for example a token. They are not saved in the job file. Default: none.
   */
  readonly headers?: Readonly<Record<string, string>>

  /**
   * For https: options of Node's `tls.connect`, such as `ca`, or `cert` and `key` for a client certificate.
   */
  readonly tls?: TlsOptions

  /**
   * Milliseconds without progress in sending after which the attempt fails; never longer than
   * `noProgressTimeout`. Default: 2 minutes, or 1 minute if `noProgressTimeout` is 0.
   */
  readonly sendTimeout?: number

  /**
   * Milliseconds until a response, with its body, has ended; the server may have to process the last fragment.
   * Never longer than `noProgressTimeout`. The body of a reply may last longer while it
   * arrives at 1 KiB a second. Default: 5 minutes, or 1 minute if `noProgressTimeout` is 0.
   */
  readonly responseTimeout?: number

  /**
   * Milliseconds before the second attempt. Delays double from there; of each a random share is waited.
   * Default: 1 second.
   */
  readonly retryDelay?: number

  /** Maximum delay in milliseconds. Default: 1 minute. (Windows: 10 minutes, because no user watches it.) */
  readonly maxRetryDelay?: number

  /**
   * Milliseconds of failures without progress after which the call fails, waits and timeouts included; 0: at
   * the first failure.
   * Default: 14 days for an upload, as long as servers keep sessions; 1 day for a cancellation.
   */
  readonly noProgressTimeout?: number

  /** Aborting it stops the call: the promise rejects with the signal's reason. Default: none. */
  readonly signal?: AbortSignal
}

/** Options of `uploadFile`. */
export interface UploadOptions extends ConnectionSettings {
  /**
   * Path of a job file, with which another process can resume the upload. It is created when the upload is one
   * second old, or is interrupted before that, and deleted at the end of the upload. If it exists, it must
   * belong to the same source and URL. Default: none.
   */
  readonly job?: string

  /**
   * Destination of the server's reply, if there is one: a path, or a stream, which is ended after the reply
   * and destroyed if the upload fails; `false`: the reply is not fetched.
   * Default: memory, as `reply.data` of the result.
   */
  readonly reply?: string | URL | Writable | false

  /** Maximum size of the reply. Default: `'1mb'` in memory, `'10gb'` elsewhere. */
  readonly maxReplySize?: Size

  /** Maximum size of a fragment. Sizes adapt to the connection, from 5 KB up to this. Default: `'13mb'`. */
  readonly maxFragmentSize?: Size

  /**
   * Called at every step, and at most ten times a second while bytes are sent. An exception ends the upload.
   */
  readonly onProgress?: (progress: UploadProgress) => void
}

/** Options of `cancelUpload`. */
export type CancelOptions = ConnectionSettings

/** The options of both functions, checked and with defaults. */
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

const connectionOptionNames = [
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

const uploadOptionNames = [
  ...connectionOptionNames,
  'job',
  'reply',
  'maxReplySize',
  'maxFragmentSize',
  'onProgress',
] as const satisfies (keyof UploadOptions)[]

/** The function that error texts name. */
type Where = 'uploadFile' | 'cancelUpload'

/** @throws {TypeError} that names the option and what it takes, or a similar name for an unknown one */
export function readUploadOptions(options: UploadOptions): UploadSettings {
  const where = 'uploadFile'
  const settings = readCommonOptions(where, uploadOptionNames, options, 14 * DayMs)
  const { job, onProgress } = options
  checkFunction(where, 'onProgress', onProgress)
  if (job !== undefined && (typeof job !== 'string' || job === '')) {
    throw optionError(where, 'job', 'a path', job)
  }
  const reply = readReplyDestination(options.reply)
  const maxReplySize = options.maxReplySize ?? (reply === undefined ? '1mb' : '10gb')
  return {
    ...settings,
    job,
    reply,
    maxReplySize: checkSize(where, 'maxReplySize', maxReplySize),
    maxFragmentSize: checkSize(where, 'maxFragmentSize', options.maxFragmentSize ?? LargestFragment),
    onProgress,
  }
}

/** @throws {TypeError} as {@link readUploadOptions} does */
export const readCancelOptions = (options: CancelOptions): CommonSettings =>
  readCommonOptions('cancelUpload', connectionOptionNames, options, DayMs)

/** @throws {TypeError} if a file cannot be uploaded to the URL, with what to write instead */
export function readUploadUrl(value: string | URL): URL {
  const url = URL.canParse(String(value)) ? new URL(String(value)) : undefined
  const fail = (reason: string): TypeError => new TypeError(`uploadFile: the URL ${reason}`)
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw fail(`is one such as 'https://host/upload/file.txt', not '${value}'`)
  }
  if (url.username || url.password) throw fail('must not contain credentials; pass them as `auth`')
  // The part from '#' is not sent, so the file would get another name.
  if (url.href.includes('#')) throw fail("has a '#'; write it as %23 if it belongs to the name")
  return url
}

function readCommonOptions(
  where: Where,
  names: readonly string[],
  options: ConnectionSettings,
  noProgressTimeoutMs: number,
): CommonSettings {
  if (!isPlainObject(options)) throw new TypeError(`${where}: the options are an object`)
  assertKnownKeys(where, 'option', options, names)
  const { auth, headers = {}, tls = {}, signal } = options as ConnectionSettings
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw optionError(where, 'signal', 'an AbortSignal', signal)
  }
  if (typeof tls !== 'object' || tls === null) throw optionError(where, 'tls', 'options of tls.connect', tls)
  const timer = (name: TimerOption, defaultMs: number, min: number): number =>
    checkTimer(where, name, options[name] ?? defaultMs, min)
  const retryDelay = timer('retryDelay', 1000, 1)
  const noProgressTimeout = timer('noProgressTimeout', noProgressTimeoutMs, 0)
  // A caller that permits no second attempt expects an early answer.
  const maxWaitMs = noProgressTimeout === 0 ? 60_000 : Number.POSITIVE_INFINITY
  return {
    auth: readAuth(where, auth, headers),
    headers: readHeaders(where, headers),
    tls,
    signal,
    sendTimeout: timer('sendTimeout', Math.min(120_000, maxWaitMs), 1),
    responseTimeout: timer('responseTimeout', Math.min(300_000, maxWaitMs), 1),
    retryDelay,
    maxRetryDelay: Math.max(retryDelay, timer('maxRetryDelay', 60_000, 1)),
    noProgressTimeout,
  }
}

type TimerOption = 'sendTimeout' | 'responseTimeout' | 'retryDelay' | 'maxRetryDelay' | 'noProgressTimeout'

// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression matches control characters
const controlCharacter = /[\u0000-\u001f\u007f]/

function readAuth(where: Where, auth: unknown, headers: object): Credentials | undefined {
  if (auth === undefined) return undefined
  const fail = (expected: string): TypeError =>
    // The value is not shown, because it may contain a password.
    new TypeError(`${where}: option 'auth' takes ${expected}`)
  if (!isPlainObject(auth)) throw fail('{ user, password }')
  assertKnownKeys(where, 'auth option', auth, ['user', 'password'])
  const { user, password } = auth
  if (typeof user !== 'string' || typeof password !== 'string') throw fail('{ user, password }, both strings')
  if (user.includes(':') || controlCharacter.test(user + password)) {
    throw fail('a user without colon, and both without control characters')
  }
  if (Object.keys(headers).some((name) => name.toLowerCase() === 'authorization')) {
    throw fail("no value if 'headers' contain Authorization")
  }
  return { user, password }
}

/** Header fields that the client itself sends, which the caller must not set. */
const reservedFields = new RegExp(
  '^(?:bits-.*|accept|accept-encoding|connection|content-.*|expect|host|if-range|keep-alive|range|te|trailer|' +
    'transfer-encoding|upgrade)$',
  'i',
)

function readHeaders(where: Where, headers: unknown): [string, string][] {
  if (!isPlainObject(headers)) throw optionError(where, 'headers', 'an object of strings', headers)
  return Object.entries(headers).map(([name, value]) => {
    if (typeof value !== 'string') throw optionError(where, `headers.${name}`, 'a string', value)
    if (reservedFields.test(name))
      throw new TypeError(`${where}: the header field ${name} is reserved for the client`)
    try {
      http.validateHeaderName(name)
      http.validateHeaderValue(name, value)
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
