import { Patience } from './backoff.ts'
import type { Clock } from './clock.ts'
import { Conversation } from './conversation.ts'
import { fallBack, noteFailure, noteSuccess, urlOf } from './destination.ts'
import { UploadError } from './errors.ts'
import { afterAck, afterBreak, afterRefusal, type FragmentSize, firstSize } from './fragment-size.ts'
import { Guard } from './guard.ts'
import type { Job } from './job.ts'
import { Meter } from './meter.ts'
import type { UploadSettings } from './options.ts'
import { Reporter, type UploadState } from './progress.ts'
import { ReplyDownload, resolveReplyUrl } from './reply.ts'
import { type ReplySink, replySink } from './reply-sink.ts'
import type { Session } from './session.ts'
import { Setback } from './setback.ts'
import type { Identity, Source } from './source.ts'
import { Wire } from './wire.ts'

/** A reply that the server had for an upload. */
export interface UploadReply {
  readonly url: string
  readonly size: number
  /** Its bytes, unless the option `reply` said where they go. */
  readonly data?: Buffer
}

/** What became of an upload. */
export interface UploadResult {
  readonly url: string
  /** Bytes of the file. */
  readonly size: number
  readonly sessionId: string
  /** Fragments that this call sent and the server acknowledged. */
  readonly fragments: number
  /** Absent if the server had none, or it was not to be fetched. */
  readonly reply?: UploadReply
}

/** Where an upload is kept in mind while it runs. */
export interface Memory {
  readonly job: Job
  readonly identity: Identity
}

/** What the machine does next. */
type State = Exclude<UploadState, 'waiting'>

/** Milliseconds between two savings of the offset; the server knows it better anyway. */
const SaveInterval = 1000

/** The client's machine of [MC-BUP] 3.1.5.1: each state sends one packet and says what comes next. */
export class Upload {
  readonly #source: Source
  readonly #destination: URL
  readonly #settings: UploadSettings
  readonly #clock: Clock
  readonly #memory: Memory | undefined
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
  #savedAt = Number.NEGATIVE_INFINITY

  constructor(source: Source, destination: URL, settings: UploadSettings, clock: Clock, memory?: Memory) {
    this.#source = source
    this.#destination = destination
    this.#settings = settings
    this.#clock = clock
    this.#memory = memory
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
      await this.#memory?.job.remove()
      return this.#result()
    } catch (error) {
      await this.#sink.abandon()
      // Whoever resumes it is to begin where this one stopped.
      await this.#note()
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
    await this.#save()
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
    const total = this.#source.size
    const start = session.held
    const end = Math.min(start + this.#size.next, total)
    await this.#source.check()
    this.#underWay = 0
    const began = this.#clock.now()
    const piece = { start, end, total, read: () => this.#source.read(start, end) }
    const ack = await this.#conversation
      .say({ type: 'Fragment', sessionId: session.id, piece }, this.#url(), (bytes) => this.#sent(bytes))
      .catch((error) => {
        throw total === 0 ? asEmptyFile(error) : error
      })
    const { received = 0, replyUrl } = ack
    if (received > total) {
      throw new Setback('retry', `An answer was discarded: it wants byte ${received} of ${total}`, {
        wrong: true,
      })
    }
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
    if (this.#clock.now() - this.#savedAt >= SaveInterval) await this.#note()
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
    await this.#note()
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
    const sentBefore = session.closeSent === true
    session.closeSent = true
    await this.#note()
    try {
      await this.#conversation.say({ type: 'Close-Session', sessionId: session.id }, this.#url())
    } catch (error) {
      // The first one was carried out, and its Ack lost: a session that ends is forgotten.
      if (sentBefore && error instanceof Setback && error.kind === 'forgotten') return 'done'
      session.closeSent = sentBefore || mayBeDone(error)
      await this.#note()
      throw error
    }
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
    await this.#note()
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

  async #save(): Promise<void> {
    if (!this.#memory || !this.#session) return
    const { job, identity } = this.#memory
    await job.save(this.#destination.href, identity, this.#session)
    this.#savedAt = this.#clock.now()
  }

  /** Saves what the server can correct: an upload that gets on is not to fail for it. */
  async #note(): Promise<void> {
    await this.#save().catch(() => {})
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

/** Whether a packet may have been carried out that ended so: not if the server refused it, or it never left. */
const mayBeDone = (error: unknown): boolean =>
  error instanceof Setback ? !error.details.refused && !error.details.unsent : !(error instanceof UploadError)

/** A server that does not know what an empty file is calls the fragment invalid. */
const asEmptyFile = (error: unknown): unknown =>
  error instanceof UploadError && error.code === 'invalid-request'
    ? new UploadError('empty-file', undefined, error)
    : error
