import type { Clock } from './clock.ts'
import {
  type FragmentSize,
  grow,
  initialSize,
  sendFragment,
  shrinkOnBreak,
  shrinkOnRefusal,
} from './fragment.ts'
import { JobWriter, type UploadResources } from './job-writer.ts'
import type { UploadSettings } from './options.ts'
import { closeRemoteSession, PacketClient } from './packet-client.ts'
import { ProgressReporter, RateMeter, type UploadResult, type UploadState } from './progress.ts'
import { ReplyDownload, resolveReplyUrl } from './reply.ts'
import { type ReplySink, replySink } from './reply-sink.ts'
import { RetryableError } from './response-policy.ts'
import { ProgressGuard, RetryPolicy } from './retry-policy.ts'
import { type ClientSession, expireHostId, onFailure, onSuccess, sessionUrl } from './session.ts'
import type { OpenSource } from './source.ts'
import { HttpTransport } from './transport.ts'

/** A state of the state machine. */
type State = Exclude<UploadState, 'waiting'>

/**
 * The client's state machine of [MC-BUP] 3.1.5.1: each state sends one request, and returns the next state.
 */
export class Upload {
  readonly #source: OpenSource
  readonly #destination: URL
  readonly #settings: UploadSettings
  readonly #clock: Clock
  readonly #jobWriter: JobWriter
  readonly #transport: HttpTransport
  readonly #packetClient: PacketClient
  readonly #retryPolicy: RetryPolicy
  readonly #progressGuard = new ProgressGuard()
  readonly #progressReporter: ProgressReporter
  readonly #rateMeter: RateMeter
  readonly #replySink: ReplySink

  #session: ClientSession | undefined
  #size: FragmentSize
  #reply: ReplyDownload | undefined
  #fragments = 0
  /** Bytes of the current fragment that the system has taken. */
  #inFlight = 0
  /** The session replaces one that was lost, and nothing of the file was accepted since. */
  #restarted = false

  constructor(
    source: OpenSource,
    destination: URL,
    settings: UploadSettings,
    clock: Clock,
    { binding, connections }: UploadResources = {},
  ) {
    this.#source = source
    this.#destination = destination
    this.#settings = settings
    this.#clock = clock
    this.#jobWriter = new JobWriter(binding, destination, clock)
    this.#session = binding?.job.session
    this.#size = initialSize(settings.maxFragmentSize)
    this.#retryPolicy = new RetryPolicy(settings, clock)
    const attemptLimit = (): number => this.#retryPolicy.attemptLimit()
    this.#transport = new HttpTransport({ ...settings, attemptLimit }, settings.signal, connections)
    const extras = { name: source.name, headers: settings.headers }
    this.#packetClient = new PacketClient(this.#transport, { destination, extras, auth: settings.auth })
    this.#rateMeter = new RateMeter(clock.now)
    this.#progressReporter = new ProgressReporter(settings.onProgress, this.#rateMeter, clock.now)
    this.#replySink = replySink(settings.reply || undefined)
  }

  readonly #handlers: Readonly<Record<Exclude<State, 'done'>, () => Promise<State>>> = {
    'create-session': () => this.#create(),
    ping: () => this.#ping(),
    fragment: () => this.#fragment(),
    reply: () => this.#fetchReply(),
    'close-session': () => this.#close(),
  }

  async run(): Promise<UploadResult> {
    try {
      this.#jobWriter.start((error) => this.#transport.abort(error))
      let state: State = this.#resumeState()
      while (state !== 'done') {
        this.#report(state)
        state = await this.#handlers[state]().catch((error) => this.#handleFailure(error))
      }
      this.#report(state)
      await this.#jobWriter.remove()
      return this.#result()
    } catch (error) {
      await this.#replySink.abandon()
      // The next process resumes here.
      await this.#jobWriter.save(this.#session).catch(() => {})
      this.#settings.signal?.throwIfAborted()
      throw error
    } finally {
      await this.#jobWriter.stop()
      this.#transport.close()
    }
  }

  async #create(): Promise<State> {
    const ack = await this.#packetClient.send({ type: 'Create-Session' }, this.#destination)
    const { sessionId = '', hostId } = ack
    this.#session = { id: sessionId, hostId, offset: 0, stage: 'fragment' }
    // A server that loses each new session makes no progress.
    if (!this.#restarted) this.#retryPolicy.reset()
    await this.#jobWriter.begin(this.#session)
    // "The client SHOULD ping that host first" ([MC-BUP] 3.1.5.2.2).
    return hostId ? 'ping' : 'fragment'
  }

  async #ping(): Promise<State> {
    await this.#packetClient.send({ type: 'Ping' }, this.#url())
    const { stage, closeSent } = this.#current()
    // The reply was fetched before Close-Session was sent, and may be deleted since.
    return closeSent ? 'close-session' : stage
  }

  async #fragment(): Promise<State> {
    const session = this.#current()
    const start = session.offset
    const end = Math.min(start + this.#size.next, this.#source.size)
    this.#inFlight = 0
    const startedAt = this.#clock.now()
    const { received, replyUrl } = await sendFragment(
      this.#packetClient,
      this.#source,
      { start, end, sessionId: session.id },
      this.#url(),
      (bytes) => this.#onSent(bytes),
    )
    this.#fragments += 1
    this.#size = grow(this.#size, end - start, this.#clock.now() - startedAt)
    if (replyUrl) session.replyUrl = replyUrl
    return this.#advanceTo(received, end)
  }

  /** Continues at the server's offset, forward or back ([MC-BUP] 3.1.5.1.4). */
  async #advanceTo(received: number, end: number): Promise<State> {
    const session = this.#current()
    const start = session.offset
    session.offset = received
    this.#inFlight = 0
    if (received > start) {
      this.#restarted = false
      this.#retryPolicy.reset()
      onSuccess(session)
    }
    if (received === this.#source.size) return this.#complete(end)
    const rewinds = this.#progressGuard.onAck(start, received)
    await this.#jobWriter.onFragment(session)
    // The first step back is a correction. A server that needs more of them gets time to recover.
    if (rewinds > 1) await this.#wait(this.#retryPolicy.correctionDelay(rewinds - 1))
    return 'fragment'
  }

  /** All bytes are held. Only the Ack for the last fragment has the URL of the reply ([MC-BUP] 2.2.7.2). */
  async #complete(end: number): Promise<State> {
    const session = this.#current()
    const { reply } = this.#settings
    if (reply && session.replyUrl === undefined && end < this.#source.size) {
      // Sends the last bytes again.
      session.offset = Math.max(0, this.#source.size - this.#size.smallest)
      return 'fragment'
    }
    const hasReply = session.replyUrl !== undefined && reply !== false
    session.stage = hasReply ? 'reply' : 'close-session'
    // Close-Session saves the session itself.
    if (hasReply) await this.#jobWriter.update(session)
    return session.stage
  }

  /** Runs before Close-Session, after which the server deletes the reply ([MC-BUP] 3.1.5.1.8). */
  async #fetchReply(): Promise<State> {
    const { replyUrl = '' } = this.#current()
    this.#reply ??= new ReplyDownload(
      resolveReplyUrl(replyUrl, this.#destination),
      this.#packetClient,
      this.#replySink,
      {
        maxSize: this.#settings.maxReplySize,
        onProgress: (bytes) => {
          this.#retryPolicy.onReplyBytes(bytes)
          this.#report('reply')
        },
      },
    )
    const receivedBefore = this.#reply.received
    await this.#reply.fetch()
    if (this.#reply.received > receivedBefore) this.#retryPolicy.reset()
    return 'close-session'
  }

  async #close(): Promise<State> {
    const session = this.#current()
    const send = () => this.#packetClient.send({ type: 'Close-Session', sessionId: session.id }, this.#url())
    await closeRemoteSession(session, send, () => this.#jobWriter.update(session))
    return 'done'
  }

  /** Returns the state to continue with after a failure, or throws if the upload has failed. */
  async #handleFailure(error: unknown): Promise<State> {
    this.#settings.signal?.throwIfAborted()
    if (!(error instanceof RetryableError)) throw error
    const inFlight = this.#inFlight
    this.#inFlight = 0
    if (error.reason === 'session-lost') return this.#startOver(error)
    if (error.reason === 'offset-unknown') {
      // The session cannot be continued at an offset that is not known.
      this.#progressGuard.onOffsetUnknown(error)
      return this.#startOver(error)
    }
    if (error.reason === 'fragment-too-large') return this.#shrink(error)
    if (error.details.malformed) this.#progressGuard.onMalformedAnswer(error)
    const connectionFailed = error.details.status === undefined
    if (connectionFailed && (inFlight > 0 || error.details.isSlow)) this.#size = shrinkOnBreak(this.#size)
    onFailure(this.#session, this.#clock.now())
    await this.#jobWriter.keep(this.#session)
    const delay = this.#retryPolicy.nextDelay(error.details)
    if (delay === undefined) throw error.toUploadError('no-progress')
    if (delay > 0) await this.#wait(delay, error)
    return this.#resumeState()
  }

  /** "Resume goes by Ping" ([MC-BUP] 3.1.4.3, product note 9). */
  #resumeState(): State {
    return this.#session ? 'ping' : 'create-session'
  }

  /** Starts a new session at byte 0, at the host of the URL ([MC-BUP] 3.1.5.2.1). */
  async #startOver(error: RetryableError): Promise<State> {
    const restarts = this.#progressGuard.onSessionLost(error)
    this.#session = undefined
    this.#reply = undefined
    this.#restarted = true
    await this.#replySink.restart()
    if (restarts > 1) await this.#wait(this.#retryPolicy.correctionDelay(restarts - 1), error)
    return 'create-session'
  }

  #shrink(error: RetryableError): State {
    const { offset } = this.#current()
    const length = Math.min(this.#size.next, this.#source.size - offset)
    const smaller = shrinkOnRefusal(this.#size, length)
    if (!smaller) throw error.toUploadError(error.details.status === 404 ? 'not-found' : 'fragment-too-large')
    this.#size = smaller
    return 'fragment'
  }

  #current(): ClientSession {
    if (!this.#session) throw new Error('There is no session yet')
    return this.#session
  }

  /** The URL of the next packet. */
  #url(): URL {
    expireHostId(this.#session, this.#clock.now())
    return sessionUrl(this.#destination, this.#session)
  }

  #onSent(bytes: number): void {
    this.#inFlight += bytes
    this.#rateMeter.add(bytes)
    this.#report('fragment')
  }

  async #wait(milliseconds: number, error?: Error): Promise<void> {
    this.#report('waiting', { retryIn: milliseconds, ...(error && { error }) })
    await this.#clock.wait(milliseconds, this.#settings.signal)
  }

  #report(state: UploadState, more: { readonly retryIn?: number; readonly error?: Error } = {}): void {
    const held = this.#session?.offset ?? 0
    this.#progressReporter.report({
      state,
      held,
      sent: held + this.#inFlight,
      total: this.#source.size,
      replyReceived: this.#reply?.received ?? 0,
      ...more,
    })
  }

  #result(): UploadResult {
    return {
      url: this.#destination.href,
      size: this.#source.size,
      sessionId: this.#current().id,
      fragments: this.#fragments,
      ...(this.#reply && { reply: this.#reply.result() }),
    }
  }
}
