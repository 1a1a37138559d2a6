import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { acceptBitsPostEverywhere } from '../http/bits-post/accept.ts'
import { normalizeRequest } from '../http/node-tuning/hidden-classes.ts'
import {
  drainControlBody,
  isBitsPost,
  isReplyRequest,
  type MountedRequest,
  requestTarget,
} from '../http/request.ts'
import { refuseReply, sendAck } from '../http/send-ack.ts'
import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError, isFault } from '../protocol/errors.ts'
import { field, MaxSessionId, SessionIdHeader } from '../protocol/headers.ts'
import { decodePath } from '../protocol/name.ts'
import { announcesBody, isChunked, packetType, readPacket } from '../protocol/packet.ts'
import { readReplyTarget } from '../protocol/reply-url.ts'
import type { BitsUploadEvents, PacketReport } from '../sessions/events.ts'
import { authorizeRequest, isEnabled } from '../sessions/hooks.ts'
import { SessionService } from '../sessions/sessions.ts'
import type { SweepResult } from '../sessions/sweep.ts'
import { type BitsUploadOptions, readBitsUploadOptions, type Settings } from './options.ts'
import { RequestContext } from './request-context.ts'

/**
 * The middleware: a handler for `app.use`, with the events and operations of its uploads.
 *
 * @typeParam Caller the request that hooks get
 */
export interface BitsUpload<Caller extends IncomingMessage = IncomingMessage> {
  /**
   * Answers a packet or the download of a reply; calls `next()` for all other requests, without a change to them. It expects
   * `request.url` without the mount path, as `app.use(path, …)` passes it on.
   */
  (request: Caller, response: ServerResponse, next: (error?: unknown) => void): void

  /** Emits the events of uploads: see {@link BitsUploadEvents}. */
  readonly events: EventEmitter<BitsUploadEvents>

  /**
   * Removes the sessions without progress for `expireAfter`; the newest sessions of an owner with more than
   * `maxSessionsPerOwner`; old empty sessions near the limit `maxSessions`; and all sessions while uploads are not `enabled`.
   * Also runs periodically, see the option `sweepEvery`. Sessions in use by a packet stay.
   *
   * If it finds expired sessions it waits for a minute, or a hundredth of `expireAfter` if that is less, and checks them again
   * before it removes them, because the clock may be wrong for a moment. `close()` ends the wait: then they stay. Resolves when
   * the sessions are removed. Rejects with the first error of the store, after it has processed all other sessions.
   */
  sweep(): Promise<SweepResult>

  /**
   * Stops the middleware: later packets are answered 503, so that clients try again later. Packets in progress may
   * complete within `grace` milliseconds (default: 10 s); then the fragments still arriving are aborted, and the bytes
   * received are kept. Resolves when no packet is in progress, or a second after `grace`, and the locks are released. Sessions
   * stay in the store, and the next process continues them. Several middlewares on one directory are closed separately.
   * @param options `grace`: milliseconds, default 10000
   * @throws {TypeError} if `grace` is not a number of milliseconds from 0 to a day
   */
  close(options?: { readonly grace?: number }): Promise<void>
}

/**
 * A middleware for Express, Connect and other servers that call `(request, response, next)`: it answers the packets of the
 * BITS Upload Protocol below its mount path, and passes all other requests to `next()` unchanged.
 *
 * From the first call on, every `node:http` and `node:https` server of the process accepts the method `BITS_POST`. Mount the
 * middleware before any that reads bodies: a fragment whose body was read before is answered with 500.
 *
 * @typeParam Caller the request that hooks get; with Express, write `bitsUpload<Request>(…)`
 * @example app.use('/upload', bitsUpload({ store: './incoming' }))
 * @throws {TypeError} for an option that is unknown, missing or out of range; the message says what to write
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

/** Milliseconds that a packet has to end after it was aborted. */
const AbortTimeoutMs = 1000
/** The longest grace, a day. */
const MaxGraceMs = 24 * 60 * 60 * 1000

/**
 * A packet in progress, an entry of a Set. It drops its context at the end of the packet: when a Set grows, V8 keeps its
 * old table, with the entries deleted since, until the next collection of the whole heap. Without this most requests, and
 * all objects that they refer to, lived that long: a tenth of the time of a small file.
 */
interface ActiveRequest<Caller extends MountedRequest> {
  context: RequestContext<Caller> | undefined
  done: Promise<void>
}

class UploadHandler<Caller extends MountedRequest> {
  readonly sessions: SessionService<Caller>
  readonly #settings: Settings<Caller>
  readonly #active = new Set<ActiveRequest<Caller>>()
  #isStopping = false

  constructor(settings: Settings<Caller>) {
    this.#settings = settings
    this.sessions = new SessionService(settings)
  }

  /** Never throws or rejects, because Express 4 and Connect would never answer the request. */
  receive(request: Caller, response: ServerResponse): void {
    normalizeRequest(request)
    const context = new RequestContext(request, response, this.#settings.idleTimeout)
    const active: ActiveRequest<Caller> = { context, done: Promise.resolve() }
    this.#active.add(active)
    active.done = this.#handlePacket(context, active)
  }

  /** Sends a reply to the owner of its upload; 404 for all others, and after the end of the session. */
  download(request: Caller, response: ServerResponse): void {
    this.#sendReply(request, response).catch((thrown) => {
      const error = asBitsError(thrown)
      this.#report(error, request, 'Get-Reply')
      refuseReply(response, error)
    })
  }

  async #sendReply(request: Caller, response: ServerResponse): Promise<void> {
    if (this.#isStopping) throw new BitsError('stopping')
    const { id, folder } = readReplyTarget(requestTarget(request)) ?? {}
    if (id === undefined || folder === undefined) throw new BitsError('session-not-found')
    const { authorize } = this.#settings
    const owner =
      authorize && (await authorizeRequest(authorize, request, { type: 'Get-Reply', sessionId: id }))
    const reply = await this.sessions.reply(id, owner, decodePath(folder))
    // Loaded here, because the package `send` takes 40 ms, and many servers have no replies.
    const { sendReply } = await import('../reply/download.ts')
    sendReply(request, response, reply, id)
  }

  async close(grace: number): Promise<void> {
    this.#isStopping = true
    this.sessions.stopSweeping()
    const abortTimer = setTimeout(() => {
      for (const { context } of this.#active) context?.abort(new BitsError('stopping'))
    }, grace)
    const controller = new AbortController()
    // A hook that never settles cannot be aborted, and must not prevent the process from stopping.
    const deadline = delay(grace + AbortTimeoutMs, undefined, { signal: controller.signal }).catch(() => {})
    await Promise.race([Promise.all([...this.#active].map(({ done }) => done)), deadline])
    controller.abort()
    clearTimeout(abortTimer)
    await this.sessions.clearCache()
  }

  async #handlePacket(context: RequestContext<Caller>, active: ActiveRequest<Caller>): Promise<void> {
    const { caller, response } = context
    const { authorize, enabled, idleTimeout } = this.#settings
    try {
      let ack: Ack
      // One of the few functions that wait for the client's bytes, because each takes half a kilobyte meanwhile.
      try {
        if (this.#isStopping) throw new BitsError('stopping')
        if (enabled !== true && !isEnabled(enabled)) throw new BitsError('uploads-disabled')
        const packet = readPacket(caller.headers)
        const owner = authorize && (await authorizeRequest(authorize, caller, packet))
        if (packet.type !== 'Fragment' && isChunked(caller.headers))
          await assertEmptyBody(caller, idleTimeout)
        if (packet.type === 'Ping') ack = { status: 200 }
        else {
          context.bind(packet, owner)
          ack = await this.sessions.handle(packet, context)
        }
      } catch (error) {
        if (hasUnexpectedBody(caller, error)) await drainControlBody(caller, idleTimeout)
        ack = this.#errorAck(caller, error)
      }
      // Lets the parser finish a body that arrived in one chunk with its head, so that the request is usually complete.
      if (!caller.complete) await undefined
      context.detach()
      // The Ack repeats the session id as the client wrote it ([MC-BUP] 2.2.1.2).
      sendAck(caller, response, ack, ack.sessionId ?? sessionIdOf(caller), idleTimeout)
    } catch {
      // No Ack could be sent.
      caller.socket.destroy()
    }
    active.context = undefined
    this.#active.delete(active)
  }

  #errorAck(request: Caller, thrown: unknown): Ack {
    const error = asBitsError(thrown)
    // A broken connection is reported with the bytes of its fragment, as the event `interrupted`.
    if (error.code !== 'disconnected') this.#report(error, request, packetType(request.headers))
    return { status: error.status, received: error.received, error }
  }

  #report(error: BitsError, request: Caller, type: PacketReport['type']): void {
    const report = { error, type, target: requestTarget(request), sessionId: sessionIdOf(request) }
    this.sessions.events.emitEvent(isFault(error) ? 'failed' : 'refused', report)
  }
}

async function assertEmptyBody(request: IncomingMessage, idleTimeout: number): Promise<void> {
  if (await drainControlBody(request, idleTimeout)) return
  throw new BitsError(
    'invalid-packet',
    `${packetType(request.headers)} has no body, but a chunked body was sent`,
  )
}

/** Whether an invalid packet has a body that its type does not allow: it is read, so that the connection stays usable. */
const hasUnexpectedBody = ({ headers, readableDidRead }: IncomingMessage, error: unknown): boolean =>
  !readableDidRead &&
  error instanceof BitsError &&
  error.code === 'invalid-packet' &&
  packetType(headers) !== 'Fragment' &&
  announcesBody(headers)

function sessionIdOf({ headers }: IncomingMessage): string | undefined {
  const id = field(headers, SessionIdHeader)
  return id === undefined || id.length > MaxSessionId ? undefined : id
}
