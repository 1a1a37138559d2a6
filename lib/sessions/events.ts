import { channel, hasSubscribers } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import type { BitsError } from '../protocol/errors.ts'
import type { PacketType, ReplyRequest } from '../protocol/packet.ts'
import type { Session } from '../stores/store.ts'

/** What an event tells of an upload. */
export type UploadReport = Readonly<
  Pick<Session, 'id' | 'name' | 'path' | 'owner' | 'received' | 'total' | 'metadata'>
>

/** A packet that was not answered with success. */
export interface PacketReport {
  /** What the client was told; its `cause` is what went wrong underneath. */
  readonly error: BitsError
  /** Undefined where the packet was not to be understood. */
  readonly type: PacketType | ReplyRequest['type'] | undefined
  /** The request target, as it came. */
  readonly target: string
  readonly sessionId: string | undefined
}

/** A fragment whose connection ended, or fell silent, before its last byte. */
export interface InterruptionReport extends UploadReport {
  readonly reason: Error
}

/**
 * Events only tell, hooks decide. Each is also published on the diagnostics channel `express-bits-upload:<event>`, for
 * tracers that cannot get hold of the middleware.
 */
export interface BitsUploadEvents {
  /** A session began. */
  created: [upload: UploadReport]
  /** A fragment was taken; `received` of `total` bytes are held. */
  received: [upload: UploadReport]
  /** A fragment broke off; what arrived of it is held, and counted in `received`. */
  interrupted: [upload: InterruptionReport]
  /** The file stands under its name. Missing if the process died just then, or the store took too long to say so. */
  uploaded: [upload: UploadReport]
  /** The client closed the session. */
  closed: [upload: UploadReport]
  /** The client cancelled the session. */
  cancelled: [upload: UploadReport]
  /** A sweep removed the session: see `sweep()` of the middleware. */
  expired: [upload: UploadReport]
  /** A packet was refused: the client's mistake, or the application's decision. */
  refused: [packet: PacketReport]
  /** Something of the server's own failed: the store, a hook, or a sweep, which has no `type` and an empty `target`. */
  failed: [packet: PacketReport]
}

/** The events that tell of nothing but an upload. */
type UploadEvent = {
  [Event in keyof BitsUploadEvents]: BitsUploadEvents[Event] extends [upload: UploadReport]
    ? UploadReport extends BitsUploadEvents[Event][0]
      ? Event
      : never
    : never
}[keyof BitsUploadEvents]

const channelOf = (event: keyof BitsUploadEvents): string => `express-bits-upload:${event}`

/** An emitter of the middleware's events, and the function that reports one to it and to its channel. */
export class UploadEvents extends EventEmitter<BitsUploadEvents> {
  /** Tells of an upload; what there is to tell is put together only if somebody listens. */
  emitUpload(event: UploadEvent, session: Session): void {
    if (this.#hasSubscribers(event)) this.emitEvent(event, uploadReport(session))
  }

  #hasSubscribers(event: UploadEvent): boolean {
    return hasSubscribers(channelOf(event)) || this.listenerCount(event) > 0
  }

  emitEvent<Event extends keyof BitsUploadEvents>(event: Event, ...[message]: BitsUploadEvents[Event]): void {
    channel(channelOf(event)).publish(message)
    // A listener's exception is a bug of the application's own: it must be heard, but may not cost a client its Ack.
    try {
      ;(this as EventEmitter).emit(event, message)
    } catch (error) {
      process.nextTick(() => {
        throw error
      })
    }
  }
}

/** What an event may tell: never what the store carries along. */
export const uploadReport = (session: Session): UploadReport => ({
  id: session.id,
  name: session.name,
  path: session.path,
  received: session.received,
  ...(session.owner !== undefined && { owner: session.owner }),
  ...(session.total !== undefined && { total: session.total }),
  ...(session.metadata && { metadata: session.metadata }),
})
