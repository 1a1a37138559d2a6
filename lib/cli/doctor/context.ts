import { randomBytes } from 'node:crypto'
import { LargestFragment } from '../../client/fragment.ts'
import type { CommonSettings } from '../../client/options.ts'
import type { OutgoingPacket } from '../../client/packet.ts'
import { Hresult } from '../../client/response-policy.ts'
import { field, SessionIdHeader } from '../../protocol/headers.ts'
import { formatResponse } from './explain.ts'
import { isSuccess, Prober, type RawResponse } from './prober.ts'

/** The server began one session, and refused another. */
export class NoSession extends Error {
  override readonly name = 'NoSession'

  constructor(answer: RawResponse) {
    super(`another Create-Session is answered ${formatResponse(answer)}`)
  }
}

/** What all examinations share. */
export class CheckContext {
  /** Where the throw-away upload goes; on another host once the server has named one. */
  target: URL
  /** Its session, once there is one. */
  sessionId = ''
  /** Bytes of the largest fragment that passes, as far as is known. */
  maxFragment = LargestFragment
  readonly settings: CommonSettings
  readonly prober: Prober
  /** Texts of what was told: what is wrong with every Ack is told once. */
  readonly #reported = new Set<string>()
  /** Sessions that are open on the server. */
  readonly #openSessions = new Map<string, URL>()

  constructor(url: URL, settings: CommonSettings) {
    this.settings = settings
    this.target = probeUrl(url)
    this.prober = new Prober(settings)
  }

  /** Sends a packet to the throw-away upload. */
  send(packet: OutgoingPacket): Promise<RawResponse> {
    return this.prober.send(packet, this.target)
  }

  /** A Fragment of `length` bytes from `start` on. */
  fragment(start: number, length: number, total: number, sessionId = this.sessionId): Promise<RawResponse> {
    return this.send({ type: 'Fragment', sessionId, range: fragmentRange(start, length, total) })
  }

  /** Begins one more session, as the first one was begun. */
  async create(): Promise<string> {
    const answer = await this.send({ type: 'Create-Session' })
    const sessionId = field(answer.headers, SessionIdHeader)?.trim()
    if (!isSuccess(answer) || !sessionId) throw new NoSession(answer)
    this.opened(sessionId)
    return sessionId
  }

  /** Ends one of them; the answer tells whether that went well. */
  async end(type: 'Close-Session' | 'Cancel-Session', sessionId: string): Promise<RawResponse> {
    const answer = await this.send({ type, sessionId })
    if (isSuccess(answer)) this.#openSessions.delete(sessionId)
    return answer
  }

  opened(sessionId: string): void {
    this.#openSessions.set(sessionId, this.target)
  }

  /** Those of some findings that were not told before. */
  *unreported(findings: Iterable<Finding>): Generator<Finding> {
    for (const finding of findings) {
      if (this.#reported.has(finding.text)) continue
      this.#reported.add(finding.text)
      yield finding
    }
  }

  /**
   * Ends what is open, also after a signal to stop.
   * @returns the sessions that the server may still have
   */
  async cleanUp(): Promise<string[]> {
    const { methodStyle } = this.prober
    this.prober.close()
    const prober = new Prober({ ...this.settings, signal: undefined })
    prober.methodStyle = methodStyle
    for (const [sessionId, url] of [...this.#openSessions]) {
      const answer = await prober.send({ type: 'Cancel-Session', sessionId }, url).catch(() => undefined)
      // A server that does not know it any more has none.
      if (answer && (isSuccess(answer) || answer.hresult === Hresult.SessionNotFound))
        this.#openSessions.delete(sessionId)
    }
    prober.close()
    return [...this.#openSessions.keys()]
  }
}

/** A name that nobody has, beside a URL, or in the folder that it is. */
function probeUrl(url: URL): URL {
  const target = new URL(`bits-doctor-${randomBytes(8).toString('hex')}.tmp`, url)
  // It may be a token that lets the packets in.
  target.search = url.search
  return target
}

const PatternChunk = Buffer.alloc(64 * 1024, 'express-bits-upload doctor\n')

/** Bytes that mean nothing. */
export const fragmentRange = (start: number, length: number, total: number) => ({
  start,
  end: start + length,
  total,
  async *read() {
    for (let left = length; left > 0; left -= PatternChunk.length) yield PatternChunk.subarray(0, left)
  },
})

/** One thing that can be wrong, or a few that are seen together. */
export interface Check {
  /** What is not known if it was not made. */
  readonly name: string
  /** Tells what it finds as it finds it, and returns whether those behind it make sense. */
  run(context: CheckContext): AsyncGenerator<Finding, boolean, void>
}

/** What an examination found, in plain words. */
export interface Finding {
  /** `warning`: uploads work, though not as well as they could. `fault`: they do not, or not always. */
  readonly level: 'ok' | 'warning' | 'fault'
  readonly text: string
  /** What to do about it. */
  readonly remedy?: string
}

export const ok = (text: string): Finding => ({ level: 'ok', text })
export const warning = (text: string, remedy: string): Finding => ({ level: 'warning', text, remedy })
export const fault = (text: string, remedy: string): Finding => ({ level: 'fault', text, remedy })
