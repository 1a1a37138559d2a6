import { Patience } from './backoff.ts'
import type { Clock } from './clock.ts'
import { closeSession } from './close.ts'
import { Conversation } from './conversation.ts'
import { fallBack, noteFailure, noteSuccess, urlOf } from './destination.ts'
import { sendFragment } from './fragment.ts'
import { afterAck, afterBreak, afterRefusal, type FragmentSize, firstSize } from './fragment-size.ts'
import { Guard } from './guard.ts'
import { Meter } from './meter.ts'
import { type Memory, Notebook } from './notebook.ts'
import type { UploadSettings } from './options.ts'
import { Reporter, type UploadState } from './progress.ts'
import { ReplyDownload, resolveReplyUrl } from './reply.ts'
import { type ReplySink, replySink } from './reply-sink.ts'
import type { UploadResult } from './result.ts'
import type { Session } from './session.ts'
import { Setback } from './setback.ts'
import type { Source } from './source.ts'
import { Wire } from './wire.ts'

/** What the machine does next. */
type State = Exclude<UploadState, 'waiting'>

/** The client's machine of [MC-BUP] 3.1.5.1: each state sends one packet and says what comes next. */
export class Upload {
  readonly #source: Source
  readonly #destination: URL
  readonly #settings: UploadSettings
  readonly #clock: Clock
  readonly #notebook: Notebook
  readonly #wire: Wire
  readonly #conversation: Conversation
  readonly #patience: Patience
  readonly #guard = new Guard()
  readonly #reporter: Reporter
  readonly #meter: Meter
  readonly #sink: ReplySink

  #session: Session | undefined
  #size: FragmentSize
  #reply: ReplyDownload | undefined
  #fragments = 0
  /** Bytes of the fragment under way that are with the system. */
  #underWay = 0

  constructor(source: Source, destination: URL, settings: UploadSettings, clock: Clock, memory?: Memory) {
    this.#source = source
    this.#destination = destination
    this.#settings = settings
    this.#clock = clock
    this.#notebook = new Notebook(memory, destination, clock)
    this.#session = memory?.job.session
    this.#size = firstSize(settings.maxFragmentSize)
    this.#wire = new Wire(settings, settings.signal)
    const extras = { name: source.name, headers: settings.headers }
    this.#conversation = new Conversation(this.#wire, { destination, extras, auth: settings.auth })
    this.#patience = new Patience(settings, clock)
    this.#meter = new Meter(clock.now)
    this.#reporter = new Reporter(settings.onProgress, this.#meter, clock.now)
    this.#sink = replySink(settings.reply || undefined)
  }

  readonly #steps: Readonly<Record<Exclude<State, 'done'>, () => Promise<State>>> = {
    'create-session': () => this.#create(),
    ping: () => this.#ping(),
    fragment: () => this.#fragment(),
    reply: () => this.#fetchReply(),
    'close-session': () => this.#close(),
  }

  async run(): Promise<UploadResult> {
    try {
      let state: State = this.#whenResumed()
      while (state !== 'done') {
        this.#report(state)
        state = await this.#steps[state]().catch((error) => this.#recover(error))
      }
      this.#report(state)
      await this.#notebook.remove()
      return this.#result()
    } catch (error) {
      await this.#sink.abandon()
      // Whoever resumes it is to begin where this one stopped.
      await this.#notebook.note(this.#session)
      this.#settings.signal?.throwIfAborted()
      throw error
    } finally {
      this.#wire.close()
    }
  }

  async #create(): Promise<State> {
    const ack = await this.#conversation.say({ type: 'Create-Session' }, this.#destination)
    const { sessionId = '', hostId } = ack
    this.#session = { id: sessionId, hostId, held: 0, stage: 'fragment' }
    this.#patience.progressed()
    await this.#notebook.save(this.#session)
    // "The client SHOULD ping that host first" ([MC-BUP] 3.1.5.2.2).
    return hostId ? 'ping' : 'fragment'
  }

  async #ping(): Promise<State> {
    await this.#conversation.say({ type: 'Ping' }, this.#url())
    const { stage, closeSent } = this.#current()
    // The reply may be gone by now; it was fetched before.
    return closeSent ? 'close-session' : stage
  }

  async #fragment(): Promise<State> {
    const session = this.#current()
    const start = session.held
    const end = Math.min(start + this.#size.next, this.#source.size)
    await this.#source.check()
    this.#underWay = 0
    const began = this.#clock.now()
    const range = { start, end, sessionId: session.id }
    const onSent = (bytes: number): void => this.#sent(bytes)
    const { received, replyUrl } = await sendFragment(
      this.#conversation,
      this.#source,
      range,
      this.#url(),
      onSent,
    )
    this.#fragments += 1
    this.#size = afterAck(this.#size, end - start, this.#clock.now() - began)
    if (replyUrl) session.replyUrl = replyUrl
    return this.#obey(received, end)
  }

  /** Goes on where the server says, forward or back ([MC-BUP] 3.1.5.1.4). */
  async #obey(received: number, end: number): Promise<State> {
    const session = this.#current()
    const start = session.held
    session.held = received
    this.#underWay = 0
    if (received > start) this.#advanced()
    if (received === this.#source.size) return this.#complete(end)
    const stepsBack = this.#guard.moved(start, received)
    await this.#notebook.noteNow(session)
    // The first one is a correction. Who needs more of them is in trouble, and is not to be hurried.
    if (stepsBack > 1) await this.#wait(this.#patience.delay(stepsBack - 1))
    return 'fragment'
  }

  #advanced(): void {
    this.#patience.progressed()
    noteSuccess(this.#current())
  }

  /** All bytes are held. Only the Ack for the last of them tells where the reply is ([MC-BUP] 2.2.7.2). */
  async #complete(end: number): Promise<State> {
    const session = this.#current()
    const { reply } = this.#settings
    if (reply && session.replyUrl === undefined && end < this.#source.size) {
      // The last ones again.
      session.held = Math.max(0, this.#source.size - this.#size.smallest)
      return 'fragment'
    }
    session.stage = session.replyUrl !== undefined && reply !== false ? 'reply' : 'close-session'
    await this.#notebook.note(this.#session)
    return session.stage
  }

  /** Before Close-Session, which ends the reply's life ([MC-BUP] 3.1.5.1.8). */
  async #fetchReply(): Promise<State> {
    const { replyUrl = '' } = this.#current()
    this.#reply ??= new ReplyDownload(
      resolveReplyUrl(replyUrl, this.#destination),
      this.#conversation,
      this.#sink,
      {
        maxSize: this.#settings.maxReplySize,
        onProgress: () => {
          this.#patience.progressed()
          this.#report('reply')
        },
      },
    )
    await this.#reply.fetch()
    return 'close-session'
  }

  async #close(): Promise<State> {
    const session = this.#current()
    const say = () => this.#conversation.say({ type: 'Close-Session', sessionId: session.id }, this.#url())
    await closeSession(session, say, () => this.#notebook.note(session))
    return 'done'
  }

  /** Finds the way back after a setback, or gives up. */
  async #recover(error: unknown): Promise<State> {
    this.#settings.signal?.throwIfAborted()
    if (!(error instanceof Setback)) throw error
    const underWay = this.#underWay
    this.#underWay = 0
    if (error.kind === 'forgotten') return this.#startOver(error)
    if (error.kind === 'shrink') return this.#shrink(error)
    if (error.details.wrong) this.#guard.answeredWrong(error)
    const broke = error.details.status === undefined
    if (broke && underWay > 0) this.#size = afterBreak(this.#size)
    noteFailure(this.#session, this.#clock.now())
    await this.#notebook.note(this.#session)
    const delay = this.#patience.failed(error.details.stale)
    if (delay === undefined) throw error.asError('no-progress')
    if (delay > 0) await this.#wait(delay, error)
    return this.#whenResumed()
  }

  /** "Resume goes by Ping" ([MC-BUP] 3.1.4.3, product note 9). */
  #whenResumed(): State {
    return this.#session ? 'ping' : 'create-session'
  }

  /** A new session, at the URL's own host, from the first byte ([MC-BUP] 3.1.5.2.1). */
  async #startOver(error: Setback): Promise<State> {
    const restarts = this.#guard.forgotten(error)
    this.#session = undefined
    this.#reply = undefined
    await this.#sink.restart()
    if (restarts > 1) await this.#wait(this.#patience.delay(restarts - 1), error)
    return 'create-session'
  }

  #shrink(error: Setback): State {
    const { held } = this.#current()
    const length = Math.min(this.#size.next, this.#source.size - held)
    const smaller = afterRefusal(this.#size, length)
    if (!smaller) throw error.asError('fragment-too-large')
    this.#size = smaller
    return 'fragment'
  }

  #current(): Session {
    if (!this.#session) throw new Error('There is no session yet')
    return this.#session
  }

  /** Where packets go now. */
  #url(): URL {
    fallBack(this.#session, this.#clock.now())
    return urlOf(this.#destination, this.#session)
  }

  #sent(bytes: number): void {
    this.#underWay += bytes
    this.#meter.add(bytes)
    this.#report('fragment')
  }

  async #wait(milliseconds: number, error?: Error): Promise<void> {
    this.#report('waiting', { retryIn: milliseconds, ...(error && { error }) })
    await this.#clock.wait(milliseconds, this.#settings.signal)
  }

  #report(state: UploadState, more: { readonly retryIn?: number; readonly error?: Error } = {}): void {
    const held = this.#session?.held ?? 0
    this.#reporter.report({
      state,
      held,
      sent: held + this.#underWay,
      total: this.#source.size,
      replyReceived: this.#reply?.received ?? 0,
      ...more,
    })
  }

  #result(): UploadResult {
    const reply = this.#reply
    const data = reply?.data
    return {
      url: this.#destination.href,
      size: this.#source.size,
      sessionId: this.#current().id,
      fragments: this.#fragments,
      ...(reply && { reply: { url: reply.url.href, size: reply.received, ...(data && { data }) } }),
    }
  }
}
