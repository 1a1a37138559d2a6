import { memoryLocker } from '../locks/memory.ts'
import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, PingPacket } from '../protocol/packet.ts'
import type { KeptReply } from '../stores/store.ts'
import { Census } from './census.ts'
import type { Client, Core } from './core.ts'
import { createSession } from './create.ts'
import { cancelSession, closeSession } from './finish.ts'
import { type Incoming, receiveFragment } from './fragment.ts'
import { Reports } from './reports.ts'
import type { SessionSettings } from './settings.ts'
import { count, type SweepResult, sweep } from './sweep.ts'

/** All that concern a session; a Ping concerns none. */
type SessionPacket = Exclude<Packet, PingPacket>

/** Milliseconds between two counts of the store that refusals ask for: each reads all sessions. */
const CountEvery = 60_000

/** What only some packets have to say beside themselves. */
export interface PacketContent {
  /** Decoded path of the destination below the mount path. */
  name(): string
  /** The body of a Fragment. */
  body(): Incoming
}

/** The sessions of one middleware: packets in, Acks out, and the housekeeping between. */
export class Sessions<Caller> {
  readonly reports = new Reports()
  readonly #core: Core<Caller>
  readonly #sweepEvery: number
  #sweeper: NodeJS.Timeout | undefined
  #sweeping: Promise<unknown> = Promise.resolve()
  #begun = false
  #counting: Promise<boolean> | undefined
  /** When the store's sessions were counted last, by the monotonic clock. */
  #counted = Number.NEGATIVE_INFINITY

  constructor(settings: SessionSettings<Caller> & { readonly sweepEvery: number }) {
    const locker = settings.store.locker ?? memoryLocker()
    this.#core = {
      settings,
      locker,
      census: new Census(),
      recount: () => this.#recount(),
      reports: this.reports,
    }
    this.#sweepEvery = settings.sweepEvery
  }

  /** @throws {BitsError} for a packet that is refused; anything else that is thrown is a fault of the server's own */
  answer(packet: SessionPacket, client: Client<Caller>, content: PacketContent): Promise<Ack> {
    switch (packet.type) {
      case 'Create-Session':
        this.#beginSweeping()
        return createSession(this.#core, client, packet, content.name())
      case 'Fragment':
        return receiveFragment(this.#core, client, packet, content.body())
      case 'Close-Session':
        return closeSession(this.#core, client, packet.sessionId)
      case 'Cancel-Session':
        return cancelSession(this.#core, client, packet.sessionId)
    }
  }

  /**
   * The reply to an upload, as long as its session is open.
   * @param folder of the destination: decoded, with the mount path and a `/` at the end
   * @throws {BitsError} `session-not-found` where there is none, or it is another's: nobody learns which ids exist
   */
  async reply(id: string, owner: string | undefined, folder: string): Promise<KeptReply> {
    const { store } = this.#core.settings
    const session = await store.load(id)
    const isTheirs = session?.owner === owner && session?.path.replace(/[^/]*$/, '') === folder
    const reply = isTheirs && session?.acceptance?.reply === 'kept' && (await store.loadReply(session))
    if (!reply) throw new BitsError('session-not-found')
    return reply
  }

  sweep(): Promise<SweepResult> {
    return this.#inTurn(() => sweep(this.#core))
  }

  /** One sweep at a time: the next begins when the one under way is over, for that may have passed what it is about. */
  #inTurn<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#sweeping.then(run, run)
    this.#sweeping = result
    const note = (): void => {
      this.#counted = performance.now()
    }
    // Also of one that failed: refusals are not to try it all the time.
    void result.then(note, note)
    return result
  }

  /** For all who are refused at the same time once. */
  async #recount(): Promise<boolean> {
    if (this.#counting) return this.#counting
    if (performance.now() - this.#counted < CountEvery) return false
    this.#counting = this.#inTurn(() => count(this.#core)).then(
      () => true,
      () => false,
    )
    try {
      return await this.#counting
    } finally {
      this.#counting = undefined
    }
  }

  stopSweeping(): void {
    this.#begun = true
    clearInterval(this.#sweeper)
  }

  /** No packet is expected any more: whatever was kept for the next one of a session is let go. */
  letGo(): void {
    this.#core.locker.letGo?.()
  }

  /** Not before the first session: to make a middleware is not to touch its store. */
  #beginSweeping(): void {
    if (this.#begun || this.#sweepEvery === 0) return
    this.#begun = true
    let sweeping = false
    const run = (): void => {
      // A sweep may take longer than the time between two.
      if (sweeping) return
      sweeping = true
      const over = this.sweep().catch((cause) => {
        this.reports.tell('failed', {
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
