import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import type { BitsError } from '../protocol/errors.ts'
import type { PacketType, ReplyRequest } from '../protocol/packet.ts'
import type { Session } from '../stores/store.ts'

/** An upload, as events report it. */
export type UploadReport = Readonly<
  Pick<Session, 'id' | 'name' | 'path' | 'owner' | 'received' | 'total' | 'metadata'>
>

/** A packet that got an error Ack. */
export interface PacketReport {
  /** The error that the client got; its `cause` is the underlying error. */
  readonly error: BitsError
  /** Undefined if the packet is invalid. */
  readonly type: PacketType | ReplyRequest['type'] | undefined
  /** The request target as received. */
  readonly target: string
  readonly sessionId: string | undefined
}

/** A fragment whose connection closed, or timed out, before its last byte. */
export interface InterruptionReport extends UploadReport {
  readonly reason: Error
}

/**
 * Events report, hooks decide. Each event is also published on the diagnostics channel `express-bits-upload:<event>`, for
 * tracers that have no reference to the middleware.
 */
export interface BitsUploadEvents {
  /** A session was created. */
  created: [upload: UploadReport]
  /** A fragment was received; `received` of `total` bytes are held. */
  received: [upload: UploadReport]
  /** A fragment was interrupted; its bytes that arrived are held, and counted in `received`. */
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
  /** A sweep removed the session: see `sweep()` of the middleware. */
  expired: [upload: UploadReport]
  /** A packet was refused because of an error of the client, or a decision of the application. */
  refused: [packet: PacketReport]
  /** The store, a hook or a sweep failed. A failure without a packet has no `type`, and an empty `target`. */
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

const channelOf = (event: keyof BitsUploadEvents): string => `express-bits-upload:${event}`

/** Emits the events of a middleware, to its listeners and to the diagnostics channels. */
export class UploadEvents extends EventEmitter<BitsUploadEvents> {
  /** Emits an event of an upload; creates the report only if there is a listener or a subscriber. */
  emitUpload(event: UploadEvent, session: Session): void {
    if (this.listenerCount(event) > 0 || hasSubscribers(channelOf(event))) {
      this.emitEvent(event, uploadReport(session))
    }
  }

  emitEvent<Event extends keyof BitsUploadEvents>(event: Event, ...[message]: BitsUploadEvents[Event]): void {
    channel(channelOf(event)).publish(message)
    // An exception of a listener is a bug of the application: it becomes an uncaught exception, but the client gets its Ack.
    try {
      ;(this as EventEmitter).emit(event, message)
    } catch (error) {
      process.nextTick(() => {
        throw error
      })
    }
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
