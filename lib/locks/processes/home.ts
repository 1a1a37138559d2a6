import { createHash, randomBytes } from 'node:crypto'
import type { Server, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type LockRequest, parseLockKey } from '../locker.ts'
import { addressOf, isFile } from './address.ts'
import { Free, Holding, quiet, serve, visit } from './holding.ts'

/** Milliseconds in which an asker has to ask, and after which who does not want to wait takes silence for a no. */
const AnswerTime = 1000
/** Milliseconds after which it is asked again, if the connection broke: it may be short of descriptors. */
const AskAgainAfter = 50
/** So many times nobody is at home where an address is a file: some kernels say so, too, when many wait at the door. */
const Refusals = 10

/** That a connection broke, for its other end died perhaps, or was not begun, for too many are at the door. */
const Broken = new Set<string | undefined>(['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'EAGAIN'])

/** A question: whether its asker waits, the session's id, and what the whole name of its lock is to be. */
const question = /^([wt])(\{[0-9A-F-]{36}\})([0-9a-f]{64})$/
const QuestionLength = 1 + 38 + 64
const Waits = 'w'
const Tries = 't'
const Held = 'h'

const addressOfHome = (mark: string): string => addressOf(`home-${mark}`)
const hashOf = (name: string): string => createHash('sha256').update(name).digest('hex')

/** A session that is held at home. */
class Resident extends Holding {
  /** Of its lock. */
  readonly name: string
  readonly #id: string
  readonly #home: Home

  constructor(id: string, name: string, home: Home) {
    super()
    this.#id = id
    this.name = name
    this.#home = home
  }

  giveBack(): void {
    this.#home.forget(this.#id)
  }
}

/**
 * Where the sessions that began in this process are held until it lets go of them for the first time: one address for all,
 * which the marks in their ids name. To listen at an address for each of them takes a small file a twentieth of
 * its time, and 5,000 silent uploads 10 MB; and most never need one, because their client goes on where it began. Another
 * process that gets such a session asks here first. Where nobody answers the process is dead, and holds nothing.
 */
export class Home {
  /** Six digits that no other process of this machine has for its mark, as long as this one listens. */
  readonly mark: string
  readonly #server: Server
  /** By the sessions' ids. */
  readonly #residents: Map<string, Resident>
  #isOpen = true

  private constructor(mark: string, server: Server, residents: Map<string, Resident>) {
    this.mark = mark
    this.#server = server
    this.#residents = residents
  }

  static async open(): Promise<Home> {
    const residents = new Map<string, Resident>()
    for (;;) {
      const mark = randomBytes(3).toString('hex').toUpperCase()
      const server = await serve(addressOfHome(mark), (socket) => hear(quiet(socket), residents))
      if (server) return new Home(mark, server, residents)
    }
  }

  /** Holds a session that bears our mark, and of which nobody else has heard yet; not if it is closed. */
  hold(id: string, name: string): Holding | undefined {
    if (!this.#isOpen) return undefined
    const resident = new Resident(id, name, this)
    this.#residents.set(id, resident)
    return resident
  }

  /** Whoever asks for a session finds it free. */
  forget(id: string): void {
    this.#residents.delete(id)
    this.#leave()
  }

  /** Takes no more sessions. Those that it has must be found here: it answers until they are gone. */
  close(): void {
    this.#isOpen = false
    this.#leave()
  }

  #leave(): void {
    if (!this.#isOpen && this.#residents.size === 0) this.#server.close()
  }
}

function hear(socket: Socket, residents: ReadonlyMap<string, Resident>): void {
  let text = ''
  const onData = (piece: string): void => {
    text += piece
    if (text.length < QuestionLength) return
    socket.off('data', onData).resume().setTimeout(0)
    const [, manner, id = '', hash] = question.exec(text) ?? []
    const resident = residents.get(id)
    if (!resident || hashOf(resident.name) !== hash) socket.end(Free)
    else if (manner === Tries) socket.end(Held)
    else resident.enqueue(socket)
  }
  socket.setEncoding('ascii').setTimeout(AnswerTime, () => socket.destroy())
  socket.on('data', onData)
}

/**
 * Whether a session is free of the process that it began in. Asked by who has it otherwise.
 * @param request of who waits until it is free, and has its holder told so; left out: nobody waits
 * @throws what the system says if it lets us ask nobody
 */
export async function isFreeAtHome(name: string, request: LockRequest | undefined): Promise<boolean> {
  const session = parseLockKey(name)
  if (!session) return true
  const address = addressOfHome(session.mark)
  const text = `${request ? Waits : Tries}${session.id}${hashOf(name)}`
  const limit = request ? request.signal : AbortSignal.timeout(AnswerTime)
  try {
    for (let refusals = isFile(address) ? Refusals : 1; refusals > 0; ) {
      const answer = await ask(address, text, limit)
      if (answer === 'nobody') refusals -= 1
      else if (answer !== undefined) return answer === Free
      if (refusals > 0) await delay(AskAgainAfter, undefined, { ref: false })
    }
    return true
  } catch (error) {
    if (!request && limit?.aborted) return false
    throw error
  }
}

/** The answer; undefined if the connection broke before, or too many are at the door; `nobody` where nobody listens. */
async function ask(
  address: string,
  text: string,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  let answer: string | undefined
  let failure: NodeJS.ErrnoException | undefined
  await visit(address, signal, (socket) => {
    socket.setEncoding('ascii').on('data', (text: string) => {
      answer ??= text
    })
    socket.on('error', (error) => {
      failure = error
    })
    socket.write(text)
  })
  if (answer !== undefined || failure === undefined || Broken.has(failure.code)) return answer
  if (failure.code === 'ECONNREFUSED' || failure.code === 'ENOENT') return 'nobody'
  throw failure
}
