import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import type { BitsError } from '../protocol/errors.ts'
import type { PacketType, ReplyRequest } from '../protocol/packet.ts'
import type { Session } from '../stores/store.ts'
import { FailureLog } from './failure-log.ts'

/**
 * An upload, as events report it. `received` of `total` bytes are held; `total` is undefined before the first fragment. For
 * the other fields see {@link Session}.
 */
export type UploadReport = Readonly<
  Pick<Session, 'id' | 'name' | 'path' | 'owner' | 'received' | 'total' | 'metadata'>
>

/** A packet, or a download of a reply, that got an error; or a sweep that failed. */
export interface PacketReport {
  /** The error that the client got; its `cause` is the underlying error. */
  readonly error: BitsError
  /** The type of the packet. Undefined if the packet is invalid, or if there is no packet. */
  readonly type: PacketType | ReplyRequest['type'] | undefined
  /** The request target (path and query) as received; empty for a sweep. */
  readonly target: string
  /** The value of `BITS-Session-Id` as the client sent it. Undefined if there is none, or it is too long. */
  readonly sessionId: string | undefined
}

/** A fragment whose connection closed, or timed out, before its last byte. */
export interface InterruptionReport extends UploadReport {
  /** Why the fragment ended, for example a {@link BitsError} `disconnected` or `timeout`. */
  readonly reason: Error
}

/**
 * The events of a middleware, with their arguments. Events report, hooks decide: what the application must not miss belongs
 * in `onUpload`, which runs again after a crash.
 *
 * Each event is also published on the channel `express-bits-upload:<event>` of `node:diagnostics_channel`, for tracers that
 * have no reference to the middleware. If a listener throws or rejects, its error is printed to the console; the client gets
 * its Ack, and the other listeners are called.
 */
export interface BitsUploadEvents {
  /** A session was created. */
  created: [upload: UploadReport]
  /** A fragment was received; `received` of `total` bytes are held. */
  received: [upload: UploadReport]
  /** A fragment was interrupted; its bytes that arrived are held, and counted in `received`. The client continues later. */
  interrupted: [upload: InterruptionReport]
  /**
   * The file was published under its name. The event is missing if the process exited at that moment, or if the store took
   * longer than `storeTimeout` to publish.
   */
  uploaded: [upload: UploadReport]
  /** The client closed the session. */
  closed: [upload: UploadReport]
  /** The client cancelled the session. */
  cancelled: [upload: UploadReport]
  /** The session was removed by a sweep, see `sweep()` of the middleware, or as an old empty one, see `maxSessions`. */
  expired: [upload: UploadReport]
  /**
   * A packet was refused because of an error of the client, or a decision of the application. The `code` of the error is one
   * of {@link BitsErrorCode}.
   */
  refused: [packet: PacketReport]
  /**
   * The store, a hook or a sweep failed; `error.cause` is the underlying error. A failure without a packet has no `type`, and
   * an empty `target`. Without a listener failures are printed to the console with their cause, each cause once a minute.
   */
  failed: [packet: PacketReport]
}

/** The events whose only argument is an upload. */
type UploadEvent = {
  [Event in keyof BitsUploadEvents]: BitsUploadEvents[Event] extends [upload: UploadReport]
    ? UploadReport extends BitsUploadEvents[Event][0]
      ? Event
      : never
    : never
}[keyof BitsUploadEvents]

const ChannelPrefix = 'express-bits-upload:'

/** Emits the events of a middleware, to its listeners and to the diagnostics channels. */
export class UploadEvents extends EventEmitter<BitsUploadEvents> {
  readonly #log = new FailureLog()

  /** Emits an event of an upload; creates the report only if there is a listener or a subscriber. */
  emitUpload(event: UploadEvent, session: Session): void {
    if (this.listenerCount(event) > 0 || hasSubscribers(ChannelPrefix + event)) {
      this.emitEvent(event, uploadReport(session))
    }
  }

  /**
   * Calls all listeners. If one throws, or rejects, its error is printed to the console: it is a bug of the application,
   * and must not cost the client its Ack, hide the event from other listeners, or end the process.
   */
  emitEvent<Event extends keyof BitsUploadEvents>(event: Event, ...[message]: BitsUploadEvents[Event]): void {
    channel(ChannelPrefix + event).publish(message)
    const listeners = this.rawListeners(event)
    if (event === 'failed' && listeners.length === 0) this.#printFailure(message as PacketReport)
    const printError = (error: unknown): void =>
      this.#log.print(`a listener of the event '${event}' threw an error`, error)
    for (const listener of listeners) {
      try {
        const result: unknown = Reflect.apply(listener, this, [message])
        if (result instanceof Promise) result.catch(printError)
      } catch (error) {
        printError(error)
      }
    }
  }

  #printFailure({ error, type, target, sessionId }: PacketReport): void {
    const packet = type === undefined ? 'A sweep, or the release of a lock,' : `${type} of ${target}`
    const session = sessionId === undefined ? '' : `, session ${sessionId}`
    this.#log.print(`${packet} failed${session}`, error)
  }
}

/** The public fields of a session, without the data that the store adds to it. */
export const uploadReport = (session: Session): UploadReport => ({
  id: session.id,
  name: session.name,
  path: session.path,
  received: session.received,
  ...(session.owner !== undefined && { owner: session.owner }),
  ...(session.total !== undefined && { total: session.total }),
  ...(session.metadata && { metadata: session.metadata }),
})
