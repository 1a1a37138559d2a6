import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { BitsError } from '../protocol/errors.ts'
import type { LockRequest } from './locker.ts'

/**
 * What a process asks another one about a lock.
 * - `borrow`: sent to the process that created the session. It answers when the lock is free there, and keeps it for the
 *   connection until that ends.
 * - `try`: as `borrow`, but answers `held` at once if the lock is not free
 * - `wait`: sent to the holder of a lock file. It answers when it has released the lock.
 */
export type QueryType = 'borrow' | 'try' | 'wait'

export interface Query {
  readonly type: QueryType
  readonly key: string
  /** Milliseconds between two signs of life that the client wants until the answer; 0: none. */
  readonly signEvery: number
}

export const FREE = 'free\n'
export const HELD = 'held\n'
/** The lock depends on a third process, which is silent. */
export const BUSY = 'busy\n'
/** Sent again and again until the answer. */
export const SIGN_OF_LIFE = '.'
export const SignsPerTimeout = 3

export const formatQuery = ({ type, key, signEvery }: Query): string =>
  `${type} ${signEvery} ${JSON.stringify(key)}\n`

/** Undefined if the text is not a query. */
export function parseQuery(text: string): Query | undefined {
  const [, type, signEvery, key] = /^(borrow|try|wait) (\d{1,10}) (".*")\n$/s.exec(text) ?? []
  if (key === undefined) return undefined
  try {
    return { type: type as QueryType, signEvery: Number(signEvery), key: JSON.parse(key) }
  } catch {
    return undefined
  }
}

/** Milliseconds before a query is repeated because the connection broke; the process may have no free descriptor. */
export const RetryDelayMs = 50
/**
 * Refused connections after which a process counts as exited. macOS and BSD also refuse when many clients connect at once.
 */
const MaxRefusals = ['linux', 'win32'].includes(process.platform) ? 1 : 10

/** Error codes of a connection that broke, or was not established because too many wait. */
const brokenConnectionCodes = new Set<string | undefined>([
  'ETIMEDOUT',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'EAGAIN',
  'EBUSY',
])

export interface Answer {
  readonly isFree: boolean
  /** Ends the connection, and with it the loan of a lock. */
  end(): void
}

export type Limits = Pick<LockRequest, 'signal' | 'timeout'>

/**
 * Asks the process that listens at an address. Resolves to undefined if it has exited.
 * @param onSign called at each sign of life
 * @throws {BitsError} `session-busy` if it, or a third process on which the lock depends, gives no sign of life for the
 * `timeout` of the request
 * @throws the signal's reason, or the system's error if nothing can be sent
 */
export async function ask(
  address: string,
  type: QueryType,
  key: string,
  { signal, timeout = 0 }: Limits = {},
  onSign: () => void = () => {},
): Promise<Answer | undefined> {
  const text = formatQuery({ type, key, signEvery: Math.ceil(timeout / SignsPerTimeout) })
  let lastSign = performance.now()
  const setLastSign = (): void => {
    lastSign = performance.now()
    onSign()
  }
  for (let refusals = 0; ; ) {
    const answer = await sendQuery(address, text, { signal, timeout }, setLastSign)
    if (typeof answer === 'object') return answer
    if (answer === 'absent') return undefined
    if (answer === 'refused' && ++refusals >= MaxRefusals) return undefined
    if (timeout > 0 && performance.now() - lastSign > timeout) throw new BitsError('session-busy')
    await delay(RetryDelayMs, undefined, signal && { signal }).catch((error) => {
      throw signal?.aborted ? signal.reason : error
    })
  }
}

function sendQuery(
  address: string,
  text: string,
  { signal, timeout = 0 }: Limits,
  onSign: () => void,
): Promise<Answer | 'absent' | 'refused' | 'broken'> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    let failure: NodeJS.ErrnoException | undefined
    const fail = (reason: unknown): void => {
      reject(reason)
      socket.destroy()
    }
    const abort = (): void => fail(signal?.reason)
    const onData = (chunk: string): void => {
      onSign()
      if (chunk.endsWith(BUSY)) fail(new BitsError('session-busy'))
      const isFree = chunk.endsWith(FREE)
      if (!isFree && !chunk.endsWith(HELD)) return
      signal?.removeEventListener('abort', abort)
      socket.off('data', onData).resume().setTimeout(0).unref()
      resolve({ isFree, end: () => socket.destroy() })
    }
    // Any byte starts the timeout again.
    socket.setTimeout(timeout, () => fail(new BitsError('session-busy')))
    socket.setEncoding('ascii').on('data', onData)
    socket.on('error', (error) => {
      failure = error
    })
    // After an answer this has no effect.
    socket.on('close', () => {
      signal?.removeEventListener('abort', abort)
      const code = failure?.code
      if (code === 'ENOENT') resolve('absent')
      else if (code === 'ECONNREFUSED') resolve('refused')
      else if (failure === undefined || brokenConnectionCodes.has(code)) resolve('broken')
      else reject(failure)
    })
    socket.write(text)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort, { once: true })
  })
}

/** Whether a process listens at an address. It need not answer: it may be stopped. */
export async function isListening(address: string): Promise<boolean> {
  for (let refusals = 0; ; ) {
    const answer = await tryConnect(address)
    if (answer !== 'refused') return answer === 'connected'
    if (++refusals >= MaxRefusals) return false
    await delay(RetryDelayMs)
  }
}

function tryConnect(address: string): Promise<'connected' | 'absent' | 'refused'> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    socket.on('connect', () => {
      resolve('connected')
      socket.destroy()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') resolve('absent')
      else if (error.code === 'ECONNREFUSED') resolve('refused')
      // Too many wait to be accepted.
      else if (brokenConnectionCodes.has(error.code)) resolve('connected')
      else reject(error)
    })
  })
}
