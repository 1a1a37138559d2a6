import { randomBytes } from 'node:crypto'
import { LargestFragment } from '../../client/fragment.ts'
import type { CommonSettings } from '../../client/options.ts'
import type { OutgoingPacket } from '../../client/packet.ts'
import { field, SessionIdHeader } from '../../protocol/headers.ts'
import type { Finding } from './finding.ts'
import { isTaken, Line, type RawAnswer } from './line.ts'
import { SessionNotFound, shown } from './refusal.ts'

/** The server began one session, and refused another. */
export class NoSession extends Error {
  override readonly name = 'NoSession'

  constructor(answer: RawAnswer) {
    super(`another Create-Session is answered ${shown(answer)}`)
  }
}

/** What all examinations share. */
export class Visit {
  /** Where the throw-away upload goes; on another host once the server has named one. */
  target: URL
  /** Its session, once there is one. */
  sessionId = ''
  /** Bytes of the largest fragment that passes, as far as is known. */
  passes = LargestFragment
  readonly settings: CommonSettings
  readonly line: Line
  /** Texts of what was told: what is wrong with every Ack is told once. */
  readonly #told = new Set<string>()
  /** Sessions that are open on the server. */
  readonly #open = new Map<string, URL>()

  constructor(url: URL, settings: CommonSettings) {
    this.settings = settings
    this.target = throwAway(url)
    this.line = new Line(settings)
  }

  /** Sends a packet to the throw-away upload. */
  say(packet: OutgoingPacket): Promise<RawAnswer> {
    return this.line.say(packet, this.target)
  }

  /** A Fragment of `length` bytes from `start` on. */
  fragment(start: number, length: number, total: number, sessionId = this.sessionId): Promise<RawAnswer> {
    return this.say({ type: 'Fragment', sessionId, range: piece(start, length, total) })
  }

  /** Begins one more session, as the first one was begun. */
  async create(): Promise<string> {
    const answer = await this.say({ type: 'Create-Session' })
    const sessionId = field(answer.headers, SessionIdHeader)?.trim()
    if (!isTaken(answer) || !sessionId) throw new NoSession(answer)
    this.opened(sessionId)
    return sessionId
  }

  /** Ends one of them; the answer tells whether that went well. */
  async end(type: 'Close-Session' | 'Cancel-Session', sessionId: string): Promise<RawAnswer> {
    const answer = await this.say({ type, sessionId })
    if (isTaken(answer)) this.#open.delete(sessionId)
    return answer
  }

  opened(sessionId: string): void {
    this.#open.set(sessionId, this.target)
  }

  /** Those of some findings that were not told before. */
  *news(findings: Iterable<Finding>): Generator<Finding> {
    for (const finding of findings) {
      if (this.#told.has(finding.text)) continue
      this.#told.add(finding.text)
      yield finding
    }
  }

  /**
   * Ends what is open, also after a signal to stop.
   * @returns the sessions that the server may still have
   */
  async cleanUp(): Promise<string[]> {
    const { spelling } = this.line
    this.line.close()
    const line = new Line({ ...this.settings, signal: undefined })
    line.spelling = spelling
    for (const [sessionId, url] of [...this.#open]) {
      const answer = await line.say({ type: 'Cancel-Session', sessionId }, url).catch(() => undefined)
      // A server that does not know it any more has none.
      if (answer && (isTaken(answer) || answer.hresult === SessionNotFound)) this.#open.delete(sessionId)
    }
    line.close()
    return [...this.#open.keys()]
  }
}

/** A name that nobody has, beside a URL, or in the folder that it is. */
function throwAway(url: URL): URL {
  const target = new URL(`bits-doctor-${randomBytes(8).toString('hex')}.tmp`, url)
  // It may be a token that lets the packets in.
  target.search = url.search
  return target
}

const Chunk = Buffer.alloc(64 * 1024, 'express-bits-upload doctor\n')

/** Bytes that mean nothing. */
export const piece = (start: number, length: number, total: number) => ({
  start,
  end: start + length,
  total,
  async *read() {
    for (let left = length; left > 0; left -= Chunk.length) yield Chunk.subarray(0, left)
  },
})
