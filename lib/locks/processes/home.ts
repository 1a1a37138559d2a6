import { createHash, randomBytes } from 'node:crypto'
import { connect, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { sessionOf } from '../name.ts'
import { addressOf } from './address.ts'
import { Free, Holding, quiet, serve } from './holding.ts'

/** Milliseconds in which an asker has to ask, and after which who does not want to wait takes silence for a no. */
const Patience = 1000
/** Milliseconds after which it is asked again, if the connection broke: it may be short of descriptors. */
const AskAgainAfter = 50

/** A question: whether its asker waits, the session's id, and what the whole name of its lock is to be. */
const question = /^([wt])(\{[0-9A-F-]{36}\})([0-9a-f]{64})$/
const QuestionLength = 1 + 38 + 64
const Waits = 'w'
const Tries = 't'
const Held = 'h'

const addressOfHome = (mark: string): string => addressOf(`home-${mark}`)
const hashOf = (name: string): string => createHash('sha256').update(name).digest('hex')

type Residents = Map<string, Resident>

/** A session that is held at home. */
class Resident extends Holding {
  /** Of its lock. */
  readonly name: string
  readonly #id: string
  readonly #residents: Residents

  constructor(id: string, name: string, residents: Residents) {
    super()
    this.#id = id
    this.name = name
    this.#residents = residents
    residents.set(id, this)
  }

  giveBack(): void {
    this.#residents.delete(this.#id)
  }
}

/**
 * Where the sessions that began in this process are held until it lets go of them for the first time: one address for all,
 * which the marks in their ids name. To listen at an address for each of them takes a small file a twentieth of
 * its time, and 5,000 silent uploads 10 MB; and most never need one, because their client goes on where it began. Another
 * process that gets such a session asks here first. Where nobody answers the process is dead, and holds nothing.
 */
export class Home {
  /** Six digits that no other process of this machine has for its mark, as long as this one has it. */
  readonly mark: string
  readonly #server: Server
  /** By the sessions' ids. */
  readonly #residents: Residents
  #isOpen = true

  private constructor(mark: string, server: Server, residents: Residents) {
    this.mark = mark
    this.#server = server
    this.#residents = residents
  }

  static async open(): Promise<Home> {
    const residents: Residents = new Map()
    for (;;) {
      const mark = randomBytes(3).toString('hex').toUpperCase()
      const server = await serve(addressOfHome(mark), (socket) => hear(quiet(socket), residents))
      if (server) return new Home(mark, server, residents)
    }
  }

  /** Holds a session that bears our mark, and of which nobody else has heard yet; not if it was closed. */
  hold(id: string, name: string): Holding | undefined {
    if (!this.#isOpen) return undefined
    return new Resident(id, name, this.#residents)
  }

  /** Closes it, if it holds nothing. Tells whether it did. */
  close(): boolean {
    if (this.#residents.size > 0) return false
    this.#isOpen = false
    this.#server.close()
    return true
  }
}

function hear(socket: Socket, residents: Residents): void {
  let text = ''
  const onData = (piece: string): void => {
    text += piece
    if (text.length < QuestionLength) return
    socket.off('data', onData).resume().setTimeout(0)
    const [, manner, id = '', hash] = question.exec(text) ?? []
    const resident = residents.get(id)
    if (!resident || hashOf(resident.name) !== hash) socket.end(Free)
    else if (manner === Tries) socket.end(Held)
    else resident.await(socket)
  }
  socket.setEncoding('ascii').setTimeout(Patience, () => socket.destroy())
  socket.on('data', onData)
}

/**
 * Whether a session is free of the process that it began in. Asked by who has it otherwise.
 * @param wait whether to tell its holder that it is wanted, and wait until it is free
 */
export async function isFreeAtHome(
  name: string,
  wait: boolean,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const session = sessionOf(name)
  if (!session) return true
  const text = `${wait ? Waits : Tries}${session.id}${hashOf(name)}`
  const limit = wait ? signal : AbortSignal.timeout(Patience)
  for (;;) {
    try {
      const answer = await ask(addressOfHome(session.mark), text, limit)
      if (answer !== undefined) return answer === Free
      await delay(AskAgainAfter, undefined, { ref: false })
    } catch (error) {
      if (wait) throw error
      return false
    }
  }
}

/** The answer; undefined if the connection broke before. */
function ask(address: string, text: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    const giveUp = (): void => {
      reject(signal?.reason)
      socket.destroy()
    }
    socket.setEncoding('ascii').on('data', resolve)
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      // Nobody is at home.
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(Free)
    })
    socket.on('close', () => {
      signal?.removeEventListener('abort', giveUp)
      resolve(undefined)
    })
    socket.write(text)
    if (signal?.aborted) giveUp()
    else signal?.addEventListener('abort', giveUp, { once: true })
  })
}
