import { createHash, randomBytes } from 'node:crypto'
import type { Server, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type LockRequest, parseLockKey } from './locker.ts'
import {
  addressOf,
  connectUntilClosed,
  FREE,
  isFile,
  listenAt,
  SocketLock,
  unrefAndIgnoreErrors,
} from './socket-lock.ts'

/** Milliseconds in which a client must send its query. */
const QueryTimeoutMs = 1000
/** Milliseconds without an answer after which a lock counts as held, for a query that does not wait. */
const AnswerTimeoutMs = 1000
/** Milliseconds before a query is repeated because the connection broke; the server may have no free descriptor. */
const RetryDelayMs = 50
/**
 * Refused connections to a socket file after which the server counts as gone: some kernels also refuse when many clients
 * connect at once.
 */
const MaxRefusals = 10
/**
 * Milliseconds without a lock after which the server closes. Meanwhile this process need not query itself for older sessions that
 * it created.
 */
const IdleTimeoutMs = 60_000

/** Error codes of a connection that broke, or was not established because too many wait; the query is repeated. */
const RetryableCodes = new Set<string | undefined>(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'EAGAIN'])

/** A query: whether its client waits for the release, the session id, and the hash of the whole lock key. */
const queryPattern = /^([wt])(\{[0-9A-F-]{36}\})([0-9a-f]{64})$/
const QueryLength = 1 + 38 + 64
const WAIT = 'w'
const TRY = 't'
const HELD = 'h'

const serverAddress = (prefix: string): string => addressOf(`home-${prefix}`)
const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex')

/** A lock that is visible to other processes through the lock server of its process. */
class ServedLock extends SocketLock {
  readonly key: string
  readonly #id: string
  readonly #server: LockServer

  constructor(id: string, key: string, server: LockServer) {
    super()
    this.#id = id
    this.key = key
    this.#server = server
  }

  close(): void {
    this.#server.remove(this.#id)
  }
}

/**
 * One listening socket that answers for the sessions created in this process, from their creation until their lock is
 * released for the first time. Their ids begin with its prefix. A listening socket for each of them would take 5 % of the
 * time of a small file, and 10 MB for 5,000 silent uploads; most sessions never need one, because their client
 * continues in the process that created them. Another process that acquires such a session asks here first. If nothing
 * listens, the process has exited and holds no locks.
 */
export class LockServer {
  /** Six hexadecimal digits that no other process of this machine uses while this one listens. */
  readonly prefix: string
  readonly #server: Server
  /** By session id. */
  readonly #locks: Map<string, ServedLock>
  #idleTimer: NodeJS.Timeout | undefined
  #isOpen = true

  private constructor(prefix: string, server: Server, locks: Map<string, ServedLock>) {
    this.prefix = prefix
    this.#server = server
    this.#locks = locks
    this.#closeWhenIdle()
  }

  static async open(): Promise<LockServer> {
    const locks = new Map<string, ServedLock>()
    for (;;) {
      const prefix = randomBytes(3).toString('hex').toUpperCase()
      const server = await listenAt(serverAddress(prefix), (socket) =>
        onQuery(unrefAndIgnoreErrors(socket), locks),
      )
      if (server) return new LockServer(prefix, server, locks)
    }
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Adds the lock of a new session whose id begins with the prefix; undefined if the server is closed. */
  add(id: string, key: string): SocketLock | undefined {
    if (!this.#isOpen) return undefined
    clearTimeout(this.#idleTimer)
    const lock = new ServedLock(id, key, this)
    this.#locks.set(id, lock)
    return lock
  }

  remove(id: string): void {
    this.#locks.delete(id)
    if (this.#locks.size === 0) this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => {
      this.#isOpen = false
      this.#server.close()
    }, IdleTimeoutMs).unref()
  }
}

function onQuery(socket: Socket, locks: ReadonlyMap<string, ServedLock>): void {
  let text = ''
  const onData = (chunk: string): void => {
    text += chunk
    if (text.length < QueryLength) return
    socket.off('data', onData).resume().setTimeout(0)
    const [, mode, id = '', hash] = queryPattern.exec(text) ?? []
    const lock = locks.get(id)
    if (!lock || hashOf(lock.key) !== hash) socket.end(FREE)
    else if (mode === TRY) socket.end(HELD)
    else lock.addWaiter(socket)
  }
  socket.setEncoding('ascii').setTimeout(QueryTimeoutMs, () => socket.destroy())
  socket.on('data', onData)
}

/**
 * Whether the lock of a session is free at the lock server of the process that created it.
 * @param request of an `acquire`, which waits for the release; undefined: does not wait
 * @throws the system's error if no query can be sent
 */
export async function isFreeAtCreator(key: string, request: LockRequest | undefined): Promise<boolean> {
  const session = parseLockKey(key)
  if (!session) return true
  const address = serverAddress(session.prefix)
  const text = `${request ? WAIT : TRY}${session.id}${hashOf(key)}`
  const signal = request ? request.signal : AbortSignal.timeout(AnswerTimeoutMs)
  try {
    for (let refusals = isFile(address) ? MaxRefusals : 1; refusals > 0; ) {
      const answer = await query(address, text, signal)
      if (answer === 'no-server') refusals -= 1
      else if (answer !== undefined) return answer === FREE
      if (refusals > 0) await delay(RetryDelayMs, undefined, { ref: false })
    }
    return true
  } catch (error) {
    if (!request && signal?.aborted) return false
    throw error
  }
}

/** The answer; undefined if the connection broke before it; `no-server` if nothing listens. */
async function query(
  address: string,
  text: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  let answer: string | undefined
  let failure: NodeJS.ErrnoException | undefined
  await connectUntilClosed(address, signal, (socket) => {
    socket.setEncoding('ascii').on('data', (chunk: string) => {
      answer ??= chunk
    })
    socket.on('error', (error) => {
      failure = error
    })
    socket.write(text)
  })
  if (answer !== undefined || failure === undefined || RetryableCodes.has(failure.code)) return answer
  // A closed server has removed its file.
  if (failure.code === 'ENOENT') return FREE
  if (failure.code === 'ECONNREFUSED') return 'no-server'
  throw failure
}
