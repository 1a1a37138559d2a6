import { setMaxListeners } from 'node:events'
import { memoryLocker } from '../locks/memory.ts'
import type { Ack } from '../protocol/ack.ts'
import { asBitsError, BitsError } from '../protocol/errors.ts'
import type { Packet, PingPacket } from '../protocol/packet.ts'
import type { StoredReply } from '../stores/store.ts'
import type { PacketContext, SessionDependencies } from './context.ts'
import { handleCreateSession } from './create.ts'
import { handleCancelSession, handleCloseSession } from './end.ts'
import { UploadEvents } from './events.ts'
import { handleFragment } from './fragment.ts'
import type { SessionSettings } from './hooks.ts'
import { SessionQuota } from './quota.ts'
import { SessionCache } from './session-cache.ts'
import { expireEmptySessions, recountSessions, type SweepResult, sweep } from './sweep.ts'

/** The packets that concern a session; a Ping does not. */
type SessionPacket = Exclude<Packet, PingPacket>

/** Milliseconds between two recounts for refused sessions, because each reads all sessions of the store. */
const RecountEveryMs = 60_000
/** Minimum number of milliseconds between two removals of old empty sessions for Create-Session. */
const EmptyExpiryEveryMs = 10_000

/** The sessions of one middleware: handles their packets, and sweeps expired ones. */
export class SessionService<Caller> {
  readonly events = new UploadEvents()
  readonly #deps: SessionDependencies<Caller>
  readonly #sweepEvery: number
  #sweeper: NodeJS.Timeout | undefined
  #sweeping: Promise<unknown> = Promise.resolve()
  /** Cleared when sweeps are scheduled, or stopped. */
  #maySweep = true
  #recounting: Promise<boolean> | undefined
  /** When the sessions of the store were last counted, by the monotonic clock. */
  #lastRecount = Number.NEGATIVE_INFINITY
  /** When old empty sessions may be removed again, by the monotonic clock; infinite while that is done. */
  #nextEmptyExpiry = Number.NEGATIVE_INFINITY
  readonly #closing = new AbortController()

  constructor(settings: SessionSettings<Caller> & { readonly sweepEvery: number }) {
    const { store } = settings
    this.#deps = {
      settings,
      cache: new SessionCache(store, store.locker ?? memoryLocker(), settings.lockTimeout, (error) =>
        this.#reportFailure(error),
      ),
      quota: new SessionQuota(),
      recount: () => this.#recount(),
      events: this.events,
      closing: this.#closing.signal,
    }
    // One listener for each sweep that waits.
    setMaxListeners(0, this.#closing.signal)
    this.#sweepEvery = settings.sweepEvery
  }

  /** @throws {BitsError} for a refused packet; any other error is a fault of the server */
  handle(packet: SessionPacket, context: PacketContext<Caller>): Promise<Ack> {
    switch (packet.type) {
      case 'Create-Session':
        this.#startSweeping()
        this.#expireEmptySessions()
        return handleCreateSession(this.#deps, context, packet)
      case 'Fragment':
        return handleFragment(this.#deps, context, packet)
      case 'Close-Session':
        return handleCloseSession(this.#deps, context, packet.sessionId)
      case 'Cancel-Session':
        return handleCancelSession(this.#deps, context, packet.sessionId)
    }
  }

  /**
   * The reply to an upload, while its session exists.
   * @param folder of the destination: decoded, with the mount path and a `/` at the end
   * @throws {BitsError} `session-not-found` if there is no reply, also for the reply of another owner or path, so that no
   * client learns which ids exist
   */
  async reply(id: string, owner: string | undefined, folder: string): Promise<StoredReply> {
    const { store } = this.#deps.settings
    const session = await store.load(id)
    const isAllowed = session?.owner === owner && session?.path.replace(/[^/]*$/, '') === folder
    const reply = isAllowed && session?.decision?.reply === 'stored' && (await store.loadReply(session))
    if (!reply) throw new BitsError('session-not-found')
    return reply
  }

  /** @param keepsProcess whether the process waits for the end of the sweep before it exits */
  sweep({ keepsProcess = true } = {}): Promise<SweepResult> {
    return sweep(this.#deps, (run) => this.#serialize(run), keepsProcess)
  }

  /** Also ends the waits of sweeps, which then remove no expired session. */
  stopSweeping(): void {
    this.#maySweep = false
    clearInterval(this.#sweeper)
    this.#closing.abort()
  }

  /** Closes and unlocks all sessions that no packet uses. */
  clearCache(): Promise<void> {
    return this.#deps.cache.clear()
  }

  /** Runs one sweep or recount after the other, because a running one may have passed sessions that changed since. */
  #serialize<Result>(run: () => Promise<Result>): Promise<Result> {
    const result = this.#sweeping.then(run, run)
    this.#sweeping = result
    const setTime = (): void => {
      this.#lastRecount = performance.now()
    }
    // Also after a failure, so that refused sessions do not repeat it all the time.
    void result.then(setTime, setTime)
    return result
  }

  /** Recounts once for all sessions that are refused at the same time. Sweeps report the sessions that cannot be read. */
  async #recount(): Promise<boolean> {
    if (this.#recounting) return this.#recounting
    if (performance.now() - this.#lastRecount < RecountEveryMs) return false
    this.#recounting = this.#serialize(() => recountSessions(this.#deps, () => {})).then(
      () => true,
      () => false,
    )
    try {
      return await this.#recounting
    } finally {
      this.#recounting = undefined
    }
  }

  /** Called by the first Create-Session, because a new middleware must not access its store. */
  #startSweeping(): void {
    if (!this.#maySweep || this.#sweepEvery === 0) return
    this.#maySweep = false
    let isSweeping = false
    const run = (): void => {
      // A sweep may take longer than the interval.
      if (isSweeping) return
      isSweeping = true
      const done = this.sweep({ keepsProcess: false }).catch((error) => this.#reportFailure(error))
      void done.then(() => {
        isSweeping = false
      })
    }
    this.#sweeper = setInterval(run, this.#sweepEvery).unref()
    run()
  }

  /** Called by each Create-Session, which does not wait for it: near the limit old empty sessions are removed. */
  #expireEmptySessions(): void {
    const { quota, settings } = this.#deps
    if (performance.now() < this.#nextEmptyExpiry || !quota.isNearLimit(settings.maxSessions)) return
    this.#nextEmptyExpiry = Number.POSITIVE_INFINITY
    let failure: unknown
    const onError = (error: unknown): void => {
      failure ??= error
    }
    void expireEmptySessions(this.#deps, onError).then(() => {
      if (failure) this.#reportFailure(failure)
      this.#nextEmptyExpiry = performance.now() + EmptyExpiryEveryMs
    })
  }

  /** Reports a failure that belongs to no packet. */
  #reportFailure(cause: unknown): void {
    const error = asBitsError(cause)
    this.events.emitEvent('failed', { error, type: undefined, target: '', sessionId: undefined })
  }
}
