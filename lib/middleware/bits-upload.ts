import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { acceptBitsPostEverywhere } from '../http/bits-post/accept.ts'
import { normalizeRequest } from '../http/node-tuning/hidden-classes.ts'
import { drainControlBody, isBitsPost, type MountedRequest, requestTarget } from '../http/request.ts'
import { sendAck } from '../http/send-ack.ts'
import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError, isFault } from '../protocol/errors.ts'
import { field, MaxSessionId, SessionIdHeader } from '../protocol/headers.ts'
import { decodePath } from '../protocol/name.ts'
import { announcesBody, packetType, readPacket } from '../protocol/packet.ts'
import { readReplyTarget } from '../protocol/reply-url.ts'
import { isReplyRequest, refuseReply, sendReply } from '../reply/download.ts'
import type { BitsUploadEvents, PacketReport } from '../sessions/events.ts'
import { authorizeRequest } from '../sessions/hooks.ts'
import { SessionService } from '../sessions/sessions.ts'
import type { SweepResult } from '../sessions/sweep.ts'
import { type BitsUploadOptions, readBitsUploadOptions, type Settings } from './options.ts'
import { RequestContext } from './request-context.ts'

/** The middleware: a handler for `app.use`, with what the rest of an application may want of it. */
export interface BitsUpload<Caller extends IncomingMessage = IncomingMessage> {
  (request: Caller, response: ServerResponse, next: (error?: unknown) => void): void

  /** What happens to uploads, to be listened to: see {@link BitsUploadEvents}. */
  readonly events: EventEmitter<BitsUploadEvents>

  /**
   * Removes the sessions whose clients did not come back within `expireAfter`; where one owner has more than
   * `maxSessionsPerOwner`, the newest of those above it; and all of them while uploads are not `enabled`. Also runs by
   * itself, see the option `sweepEvery`.
   */
  sweep(): Promise<SweepResult>

  /**
   * Stops: packets that come from now on are answered 503, so that clients come back later; those being worked on may
   * end within `grace` milliseconds (default: 10 s), then fragments still arriving are cut, and what came of them is
   * kept. Resolves when no packet is being worked on, a second after `grace` at the latest. Sessions stay, to be resumed
   * by the next process.
   * @throws {TypeError} if `grace` is no number of milliseconds
   */
  close(options?: { readonly grace?: number }): Promise<void>
}

/**
 * A middleware for Express, Connect and whatever calls `(request, response, next)`: it answers the packets of the BITS
 * Upload Protocol below its mount path, and hands everything else to `next()`, untouched.
 *
 * From the first call on, every `node:http` and `node:https` server of the process accepts the verb `BITS_POST`.
 *
 * @example app.use('/upload', bitsUpload({ store: './incoming' }))
 * @throws {TypeError} for an option that is unknown, missing or out of range, with what to write instead
 */
export function bitsUpload<Caller extends IncomingMessage = IncomingMessage>(
  options: BitsUploadOptions<Caller>,
): BitsUpload<Caller> {
  const handler = new UploadHandler(readBitsUploadOptions(options))
  acceptBitsPostEverywhere()
  return Object.assign(
    (request: Caller, response: ServerResponse, next: (error?: unknown) => void): void => {
      if (isBitsPost(request)) handler.receive(request, response)
      else if (isReplyRequest(request)) handler.download(request, response)
      else next()
    },
    {
      events: handler.sessions.events,
      sweep: () => handler.sessions.sweep(),
      async close({ grace = 10_000 } = {}) {
        if (!(grace >= 0 && grace <= MaxGraceMs)) {
          throw new TypeError(`close: grace is a number of milliseconds from 0 to ${MaxGraceMs}`)
        }
        await handler.close(grace)
      },
    },
  )
}

/** Milliseconds that a packet has for its end when it was cut. */
const AbortGraceMs = 1000
/** The longest grace, a day. */
const MaxGraceMs = 24 * 60 * 60 * 1000

/**
 * A packet being worked on; it lets go of its exchange when that is over. For a Set whose table is full of what was deleted
 * gets another one, and V8 takes the old one, with what was in it then, for alive until it collects the whole heap again.
 * So most requests, and all that hangs on them, outlived their time: a tenth of what a small file costs.
 */
class ActiveRequest<Caller extends MountedRequest> {
  exchange: RequestContext<Caller> | undefined
  done: Promise<void> = Promise.resolve()

  constructor(exchange: RequestContext<Caller>) {
    this.exchange = exchange
  }
}

class UploadHandler<Caller extends MountedRequest> {
  readonly sessions: SessionService<Caller>
  readonly #settings: Settings<Caller>
  /** Packets being worked on. */
  readonly #active = new Set<ActiveRequest<Caller>>()
  #stopping = false

  constructor(settings: Settings<Caller>) {
    this.#settings = settings
    this.sessions = new SessionService(settings)
  }

  /** Never throws, and never rejects: Express 4 and Connect would wait for ever. */
  receive(request: Caller, response: ServerResponse): void {
    normalizeRequest(request)
    const exchange = new RequestContext(request, response, this.#settings.idleTimeout)
    const active = new ActiveRequest(exchange)
    this.#active.add(active)
    active.done = this.#handlePacket(exchange, active)
  }

  /** A reply, to whoever uploaded what it answers; 404 to all others, and when the session is over. */
  download(request: Caller, response: ServerResponse): void {
    this.#sendReply(request, response).catch((thrown) => {
      const error = asBitsError(thrown)
      this.#report(error, request, 'Get-Reply')
      refuseReply(response, error)
    })
  }

  async #sendReply(request: Caller, response: ServerResponse): Promise<void> {
    if (this.#stopping) throw new BitsError('stopping')
    const { id, folder } = readReplyTarget(requestTarget(request)) ?? {}
    if (id === undefined || folder === undefined) throw new BitsError('session-not-found')
    const { authorize: hook } = this.#settings
    const owner = hook && (await authorizeRequest(hook, request, { type: 'Get-Reply', sessionId: id }))
    const reply = await this.sessions.reply(id, owner, decodePath(folder))
    sendReply(request, response, reply, id)
  }

  async close(grace: number): Promise<void> {
    this.#stopping = true
    this.sessions.stopSweeping()
    const cut = setTimeout(() => {
      for (const { exchange } of this.#active) exchange?.abort(new BitsError('stopping'))
    }, grace)
    const end = new AbortController()
    // What cannot be cut, a hook that never settles, must not keep a process from stopping.
    const deadline = delay(grace + AbortGraceMs, undefined, { signal: end.signal }).catch(() => {})
    await Promise.race([Promise.all([...this.#active].map(({ done }) => done)), deadline])
    end.abort()
    clearTimeout(cut)
    this.sessions.letGo()
  }

  async #handlePacket(exchange: RequestContext<Caller>, active: ActiveRequest<Caller>): Promise<void> {
    const { caller, response } = exchange
    try {
      let ack: Ack
      // Here, and in few functions else, it is waited for the client's bytes: each takes half a kilobyte.
      try {
        this.#checkOpen()
        const packet = readPacket(caller.headers)
        const { authorize: hook } = this.#settings
        const owner = hook && (await authorizeRequest(hook, caller, packet))
        if (packet.type === 'Ping') ack = { status: 200 }
        else {
          exchange.bind(packet, owner)
          ack = await this.sessions.handle(packet, exchange, exchange)
        }
      } catch (error) {
        if (hasUnwantedBody(caller, error)) await drainControlBody(caller, this.#settings.idleTimeout)
        ack = this.#errorAck(caller, error)
      }
      // What came in one piece with the head is parsed before this goes on: most often the packet is complete then.
      if (!caller.complete) await undefined
      exchange.detach()
      // What is echoed must be what the client wrote ([MC-BUP] 2.2.1.2).
      sendAck(caller, response, ack, ack.sessionId ?? sessionIdOf(caller), this.#settings.idleTimeout)
    } catch {
      // Not even an Ack could be sent.
      caller.socket.destroy()
    }
    active.exchange = undefined
    this.#active.delete(active)
  }

  /** @throws {BitsError} if no packets are taken at the moment */
  #checkOpen(): void {
    if (this.#stopping) throw new BitsError('stopping')
    if (!this.#isEnabled()) throw new BitsError('uploads-disabled')
  }

  #isEnabled(): boolean {
    try {
      return this.#settings.enabled()
    } catch (error) {
      throw asBitsError(error, 'hook-failed')
    }
  }

  #errorAck(request: Caller, thrown: unknown): Ack {
    const error = asBitsError(thrown)
    // A connection that broke is reported where the fragment's bytes are counted.
    if (error.code !== 'disconnected') this.#report(error, request, packetType(request.headers))
    return { status: error.status, received: error.received, error }
  }

  #report(error: BitsError, request: Caller, type: PacketReport['type']): void {
    const report = { error, type, target: requestTarget(request), sessionId: sessionIdOf(request) }
    this.sessions.events.emitEvent(isFault(error) ? 'failed' : 'refused', report)
  }
}

/** Whether an invalid packet has a body that none of its type may have: it is read away, so that the connection stays usable. */
const hasUnwantedBody = ({ headers }: IncomingMessage, error: unknown): boolean =>
  error instanceof BitsError &&
  error.code === 'invalid-packet' &&
  packetType(headers) !== 'Fragment' &&
  announcesBody(headers)

function sessionIdOf({ headers }: IncomingMessage): string | undefined {
  const id = field(headers, SessionIdHeader)
  return id === undefined || id.length > MaxSessionId ? undefined : id
}
