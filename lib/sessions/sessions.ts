import { memoryLocker } from '../locks/memory.ts'
import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, PingPacket } from '../protocol/packet.ts'
import type { StoredReply } from '../stores/store.ts'
import type { PacketContext, SessionDependencies } from './context.ts'
import { handleCreateSession } from './create.ts'
import { handleCancelSession, handleCloseSession } from './end.ts'
import { UploadEvents } from './events.ts'
import { type IncomingBody, receiveFragment } from './fragment.ts'
import type { SessionSettings } from './hooks.ts'
import { SessionQuota } from './quota.ts'
import { recountSessions, type SweepResult, sweep } from './sweep.ts'

/** All that concern a session; a Ping concerns none. */
type SessionPacket = Exclude<Packet, PingPacket>

/** Milliseconds between two counts of the store that refusals ask for: each reads all sessions. */
const RecountEveryMs = 60_000

/** What only some packets have to say beside themselves. */
export interface PacketContent {
  /** Decoded path of the destination below the mount path. */
  name(): string
  /** The body of a Fragment. */
  body(): IncomingBody
}

/** The sessions of one middleware: packets in, Acks out, and the housekeeping between. */
export class SessionService<Caller> {
  readonly events = new UploadEvents()
  readonly #deps: SessionDependencies<Caller>
  readonly #sweepEvery: number
  #sweeper: NodeJS.Timeout | undefined
  #sweeping: Promise<unknown> = Promise.resolve()
  #isSweepScheduled = false
  #recounting: Promise<boolean> | undefined
  /** When the store's sessions were counted last, by the monotonic clock. */
  #lastRecount = Number.NEGATIVE_INFINITY

  constructor(settings: SessionSettings<Caller> & { readonly sweepEvery: number }) {
    const locker = settings.store.locker ?? memoryLocker()
    this.#deps = {
      settings,
      locker,
      quota: new SessionQuota(),
      recount: () => this.#recount(),
      events: this.events,
    }
    this.#sweepEvery = settings.sweepEvery
  }

  /** @throws {BitsError} for a packet that is refused; anything else that is thrown is a fault of the server's own */
  handle(packet: SessionPacket, context: PacketContext<Caller>, content: PacketContent): Promise<Ack> {
    switch (packet.type) {
      case 'Create-Session':
        this.#startSweeping()
        return handleCreateSession(this.#deps, context, packet, content.name())
      case 'Fragment':
        return receiveFragment(this.#deps, context, packet, content.body())
      case 'Close-Session':
        return handleCloseSession(this.#deps, context, packet.sessionId)
      case 'Cancel-Session':
        return handleCancelSession(this.#deps, context, packet.sessionId)
    }
  }

  /**
   * The reply to an upload, as long as its session is open.
   * @param folder of the destination: decoded, with the mount path and a `/` at the end
   * @throws {BitsError} `session-not-found` where there is none, or it is another's: nobody learns which ids exist
   */
  async reply(id: string, owner: string | undefined, folder: string): Promise<StoredReply> {
    const { store } = this.#deps.settings
    const session = await store.load(id)
    const isTheirs = session?.owner === owner && session?.path.replace(/[^/]*$/, '') === folder
    const reply = isTheirs && session?.decision?.reply === 'stored' && (await store.loadReply(session))
    if (!reply) throw new BitsError('session-not-found')
    return reply
  }

  sweep(): Promise<SweepResult> {
    return this.#serialize(() => sweep(this.#deps))
  }

  /** One sweep at a time: the next begins when the one under way is over, for that may have passed what it is about. */
  #serialize<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#sweeping.then(run, run)
    this.#sweeping = result
    const note = (): void => {
      this.#lastRecount = performance.now()
    }
    // Also of one that failed: refusals are not to try it all the time.
    void result.then(note, note)
    return result
  }

  /** For all who are refused at the same time once. */
  async #recount(): Promise<boolean> {
    if (this.#recounting) return this.#recounting
    if (performance.now() - this.#lastRecount < RecountEveryMs) return false
    this.#recounting = this.#serialize(() => recountSessions(this.#deps)).then(
      () => true,
      () => false,
    )
    try {
      return await this.#recounting
    } finally {
      this.#recounting = undefined
    }
  }

  stopSweeping(): void {
    this.#isSweepScheduled = true
    clearInterval(this.#sweeper)
  }

  /** No packet is expected any more: whatever was kept for the next one of a session is let go. */
  letGo(): void {
    this.#deps.locker.letGo?.()
  }

  /** Not before the first session: to make a middleware is not to touch its store. */
  #startSweeping(): void {
    if (this.#isSweepScheduled || this.#sweepEvery === 0) return
    this.#isSweepScheduled = true
    let sweeping = false
    const run = (): void => {
      // A sweep may take longer than the time between two.
      if (sweeping) return
      sweeping = true
      const over = this.sweep().catch((cause) => {
        this.events.emitEvent('failed', {
          error: asBitsError(cause),
          type: undefined,
          target: '',
          sessionId: undefined,
        })
      })
      void over.then(() => {
        sweeping = false
      })
    }
    this.#sweeper = setInterval(run, this.#sweepEvery).unref()
    run()
  }
}
