import { randomBytes } from 'node:crypto'
import { isAck } from '../../client/ack.ts'
import { LargestFragment } from '../../client/fragment.ts'
import type { CommonSettings } from '../../client/options.ts'
import type { FragmentRange, OutgoingPacket } from '../../client/packet.ts'
import { Hresult } from '../../client/response-policy.ts'
import { field, SessionIdHeader } from '../../protocol/headers.ts'
import { type Explanation, explain, formatResponse } from './explain.ts'
import { isSuccessAck, Prober, type RawResponse } from './prober.ts'

/** The server created one session, and refused another. */
export class NoSession extends Error {
  override readonly name = 'NoSession'

  readonly explanation: Explanation

  constructor(answer: RawResponse) {
    const explanation = explain(answer)
    super(`another Create-Session is answered ${formatResponse(answer)}: ${explanation.reason}`)
    this.explanation = explanation
  }
}

/** State that all checks share. */
export class CheckContext {
  /** URL of the probe upload; it gets another host when the server assigns one. */
  target: URL
  /** Session of the probe upload; empty before Create-Session. */
  sessionId = ''
  /** Bytes of the largest fragment that passes, as far as the checks know. */
  maxFragment = LargestFragment
  readonly settings: CommonSettings
  readonly prober: Prober
  /** URL that the user passed. */
  readonly url: URL
  /** URL of the probe upload at the host of the user's URL. */
  #destination: URL
  /** Texts of the findings that were reported. A wrong form of every Ack is reported once. */
  readonly #reported = new Set<string>()
  /** Sessions that are open on the server, with the URL that their packets go to. */
  readonly #openSessions = new Map<string, URL>()
  /** Create-Session packets whose session, if there is one, has no known id. */
  #unknownSessions = 0

  constructor(url: URL, settings: CommonSettings) {
    this.settings = settings
    this.url = url
    this.#destination = probeUrl(url)
    this.target = this.#destination
    this.prober = new Prober(this.#destination, settings)
  }

  /** Moves the probe upload to the folder of another URL at the same host. */
  moveTo(url: URL): void {
    this.#destination = probeUrl(url)
    this.target = this.#destination
  }

  /** Sends a packet of the probe upload. */
  async send(packet: OutgoingPacket): Promise<RawResponse> {
    const isCreateSession = packet.type === 'Create-Session'
    try {
      const answer = await this.prober.send(packet, this.target)
      if (isCreateSession && mayHideAck(answer)) this.created(sessionIdIn(answer))
      return answer
    } catch (error) {
      // Also if the command is stopped: the server may create the session nevertheless.
      if (isCreateSession) this.#unknownSessions += 1
      throw error
    }
  }

  /** Sends a Fragment of `length` bytes from `start` on. */
  fragment(start: number, length: number, total: number, sessionId = this.sessionId): Promise<RawResponse> {
    return this.send({ type: 'Fragment', sessionId, range: fragmentRange(start, length, total) })
  }

  /** Sends GET or HEAD for a reply, to other servers without credentials and without the caller's fields. */
  fetchReply(url: URL, method: 'GET' | 'HEAD', range?: string): Promise<RawResponse> {
    const crossOrigin = ![this.#destination, this.target].some(({ origin }) => origin === url.origin)
    const fields = range === undefined ? [] : [['Range', range] as const]
    return this.prober.fetch({ method, url, fields, crossOrigin })
  }

  /** Creates another session. @throws {NoSession} */
  async create(): Promise<string> {
    const answer = await this.send({ type: 'Create-Session' })
    const sessionId = sessionIdIn(answer)
    if (isSuccessAck(answer)) this.created(sessionId)
    if (!isSuccessAck(answer) || !sessionId) throw new NoSession(answer)
    return sessionId
  }

  /** Ends a session. The caller checks the answer. */
  async end(type: 'Close-Session' | 'Cancel-Session', sessionId: string): Promise<RawResponse> {
    const answer = await this.send({ type, sessionId })
    if (isSuccessAck(answer)) this.#openSessions.delete(sessionId)
    return answer
  }

  /** Records the session of a Create-Session that succeeded. */
  created(sessionId: string | undefined): void {
    if (sessionId) this.opened(sessionId)
    else this.#unknownSessions += 1
  }

  /** Records an open session. {@link cleanUp} cancels it. */
  opened(sessionId: string): void {
    this.#openSessions.set(sessionId, this.target)
  }

  /** Those findings that were not reported before. */
  *unreported(findings: Iterable<Finding>): Generator<Finding> {
    for (const finding of findings) {
      if (this.#reported.has(finding.text)) continue
      this.#reported.add(finding.text)
      yield finding
    }
  }

  /**
   * Cancels the open sessions, also after the signal was aborted.
   * @returns the sessions that may still be open on the server, and the number of those without a known id
   */
  async cleanUp(): Promise<{ readonly open: string[]; readonly unknown: number }> {
    const { methodStyle } = this.prober
    this.prober.close()
    const prober = new Prober(this.#destination, { ...this.settings, signal: undefined })
    prober.methodStyle = methodStyle
    for (const [sessionId, url] of [...this.#openSessions]) {
      const answer = await prober.send({ type: 'Cancel-Session', sessionId }, url).catch(() => undefined)
      const isGone = answer && (isSuccessAck(answer) || answer.hresult === Hresult.SessionNotFound)
      if (isGone) this.#openSessions.delete(sessionId)
    }
    prober.close()
    return { open: [...this.#openSessions.keys()], unknown: this.#unknownSessions }
  }
}

const sessionIdIn = ({ headers }: RawResponse): string | undefined => field(headers, SessionIdHeader)?.trim()

/** Statuses of a proxy that passed the request on, but did not get the answer of the server. */
const lostAnswerStatuses: readonly number[] = [500, 502, 504]

/** Whether the server may have answered with a successful Ack, instead of which a proxy sent this answer. */
const mayHideAck = ({ headers, status }: RawResponse): boolean =>
  !isAck(headers) && (status < 300 || lostAnswerStatuses.includes(status))

/** A random name in the folder of a URL. */
function probeUrl(url: URL): URL {
  const target = new URL(`bits-doctor-${randomBytes(8).toString('hex')}.tmp`, url)
  // The query may contain a token that the server requires.
  target.search = url.search
  return target
}

const PatternChunk = Buffer.alloc(64 * 1024, 'express-bits-upload doctor\n')

/** A range of a file that contains one repeated line. */
export const fragmentRange = (start: number, length: number, total: number): FragmentRange => ({
  start,
  end: start + length,
  total,
  async *read() {
    for (let rest = length; rest > 0; rest -= PatternChunk.length) yield PatternChunk.subarray(0, rest)
  },
})

export interface Check {
  /** Name of the check, for the list of checks that were not made. */
  readonly name: string
  /** Yields each finding at once. Returns whether the checks after this one make sense. */
  run(context: CheckContext): AsyncGenerator<Finding, boolean, void>
}

/** One line of the report, and what to do about it. */
export interface Finding {
  /** `warning`: uploads work, but not as well as they could. `fault`: uploads fail, at least sometimes. */
  readonly level: 'ok' | 'warning' | 'fault'
  readonly text: string
  readonly remedy?: string
}

export const ok = (text: string): Finding => ({ level: 'ok', text })
export const warning = (text: string, remedy: string): Finding => ({ level: 'warning', text, remedy })
export const fault = (text: string, remedy: string): Finding => ({ level: 'fault', text, remedy })
