import { Readable } from 'node:stream'
import type { Session, Store } from '../../lib/index.ts'
import { memoryLocker } from '../../lib/locks/memory.ts'
import { BitsError } from '../../lib/protocol/errors.ts'
import { withResolvers } from './promise.ts'

/** A session in the storage. It is replaced at each change, never changed. */
interface SessionRecord {
  readonly session: Session
  readonly bytes: Buffer
  readonly version: number
  readonly reply?: { readonly bytes: Buffer; readonly modified: number }
}

/** A session as a store returns it. Copies share the stamp, so that a call can continue after another one. */
interface StampedSession extends Session {
  readonly stamp: { version: number }
}

/** The changes of a session, which a test can pause before they reach the storage. */
type ChangingMethod = 'append' | 'accept' | 'reject' | 'publish' | 'saveReply' | 'remove'

/** One of the stores on a storage, as each process has its own. */
export interface SharedTestStore extends Store {
  /** Pauses the next call of a method before its change. `reached` resolves when it got there. */
  pause(method: ChangingMethod): { readonly reached: Promise<void>; resume(): void }
}

export interface SharedStorage {
  /** The published files, by name. */
  readonly files: Map<string, Buffer>
  open(): SharedTestStore
  /**
   * Removes the bytes of a session from an offset on, and its decision, as if another program had overwritten them. From 0 on:
   * the session is `lost`.
   */
  loseBytes(id: string, from?: number): void
}

/**
 * A storage in memory for several stores that are shared (`isShared`): each change of a session is made on the condition that the
 * session was not changed since it was loaded.
 * @param publishesOnAppend whether `append` publishes if its caller allows it, and `publish` resolves if another store has published
 */
export function sharedStorage({ publishesOnAppend = true } = {}): SharedStorage {
  const records = new Map<string, SessionRecord>()
  const files = new Map<string, Buffer>()
  const leases = memoryLocker()

  const rejectTakenName = ({ name, overwrite }: Pick<Session, 'name' | 'overwrite'>): void => {
    if (files.has(name) && !overwrite) throw new BitsError('destination-exists')
  }
  const stamped = ({ session, version }: SessionRecord): StampedSession => ({
    ...structuredClone(session),
    stamp: { version },
  })
  const recordOf = (session: Session): SessionRecord => {
    const record = records.get(session.id)
    if (!record) throw new BitsError('session-not-found')
    return record
  }
  const unchangedRecord = (session: Session): SessionRecord => {
    const record = recordOf(session)
    if (record.version !== (session as StampedSession).stamp.version) throw new BitsError('out-of-sync')
    return record
  }
  const write = (
    { id }: Session,
    record: SessionRecord,
    changes: Partial<Session>,
    more: Partial<SessionRecord> = {},
  ): SessionRecord => {
    const session = { ...record.session, ...changes }
    const written = { ...record, ...more, session, version: record.version + 1 }
    records.set(id, written)
    return written
  }
  const isComplete = ({ session, bytes }: SessionRecord): boolean => bytes.length === session.total

  function open(): SharedTestStore {
    const gates = new Map<ChangingMethod, { readonly reached: () => void; readonly resumed: Promise<void> }>()
    const pass = async (method: ChangingMethod): Promise<void> => {
      const gate = gates.get(method)
      gates.delete(method)
      gate?.reached()
      await gate?.resumed
    }
    /** Changes an unchanged session. Calls with the same session may follow. */
    const change = async (
      method: ChangingMethod,
      session: Session,
      changes: Partial<Session>,
      more: Partial<SessionRecord> = {},
    ): Promise<void> => {
      await pass(method)
      const { version } = write(session, unchangedRecord(session), changes, more)
      ;(session as StampedSession).stamp.version = version
    }

    return {
      isShared: true,

      pause(method) {
        const [reached, resumed] = [withResolvers<void>(), withResolvers<void>()]
        gates.set(method, { reached: reached.resolve, resumed: resumed.promise })
        return { reached: reached.promise, resume: resumed.resolve }
      },

      async create(session) {
        rejectTakenName(session)
        const created: Session = { ...session, state: 'receiving', received: 0, updatedAt: session.created }
        const record = { session: created, bytes: Buffer.of(), version: 1 }
        records.set(session.id, record)
        return stamped(record)
      },

      async load(id) {
        const record = records.get(id)
        return record && stamped(record)
      },

      async append(session, body, { total, publish }) {
        const chunks: Buffer[] = []
        const failure = await (async () => {
          for await (const batch of body) chunks.push(Buffer.concat(batch))
        })().catch((error: unknown) => ({ error }))
        await pass('append')
        const record = unchangedRecord(session)
        const bytes = Buffer.concat([record.bytes, ...chunks])
        const publishes = publishesOnAppend && publish && !failure && bytes.length === total
        if (publishes) {
          rejectTakenName(session)
          files.set(session.name, bytes)
        }
        const state = publishes ? 'published' : 'receiving'
        const changes = { state, received: bytes.length, total, updatedAt: Date.now() } as const
        const written = write(session, record, changes, { bytes })
        if (failure) throw failure.error
        return stamped(written)
      },

      async acquireDecision(session, { timeout, signal }) {
        const controller = new AbortController()
        const busy = () => controller.abort(new BitsError('session-busy'))
        const timer = timeout > 0 ? setTimeout(busy, timeout) : undefined
        const signals = signal ? [signal, controller.signal] : [controller.signal]
        const lease = await leases
          .acquire(session.id, { signal: AbortSignal.any(signals) })
          .finally(() => clearTimeout(timer))
        const record = records.get(session.id)
        if (record) return { session: stamped(record), release: () => lease.release() }
        await lease.release()
        throw new BitsError('session-not-found')
      },

      accept: (session, decision) => change('accept', session, { state: 'accepted', decision }),
      reject: (session, rejection) => change('reject', session, { state: 'rejected', rejection }),

      async publish(session) {
        await pass('publish')
        const record = recordOf(session)
        const { state } = record.session
        if (state === 'published' && publishesOnAppend) return
        if (state === 'published') return void unchangedRecord(session)
        if (!isComplete(record) || state === 'rejected') throw new BitsError('out-of-sync')
        rejectTakenName(session)
        files.set(session.name, record.bytes)
        const { version } = write(session, record, { state: 'published' })
        ;(session as StampedSession).stamp.version = version
      },

      read: (session) => Readable.from([recordOf(session).bytes], { objectMode: false }),

      async saveReply(session, body) {
        const chunks: Buffer[] = []
        for await (const batch of body ?? []) chunks.push(Buffer.concat(batch))
        const reply = { bytes: Buffer.concat(chunks), modified: Date.now() }
        await change('saveReply', session, {}, { reply })
      },

      async loadReply({ id }) {
        const reply = records.get(id)?.reply
        if (!reply) return undefined
        const { bytes, modified } = reply
        const read = (first: number, last: number) =>
          Readable.from([bytes.subarray(first, last + 1)], { objectMode: false })
        return { size: bytes.length, modified, read }
      },

      async remove(session) {
        await pass('remove')
        if (!records.has(session.id)) return
        unchangedRecord(session)
        records.delete(session.id)
      },

      async *list() {
        for (const record of records.values()) yield stamped(record)
      },
    }
  }

  return {
    files,
    open,
    loseBytes(id, from = 0) {
      const record = recordOf({ id } as Session)
      const { decision: _, ...session } = record.session
      const bytes = record.bytes.subarray(0, from)
      records.set(id, {
        ...record,
        session: { ...session, state: from === 0 ? 'lost' : 'receiving', received: bytes.length },
        bytes,
        version: record.version + 1,
      })
    },
  }
}
