import type { Readable } from 'node:stream'
import { BitsError } from '../../protocol/errors.ts'
import { isFinal } from '../state.ts'
import type {
  AppendOptions,
  Body,
  CreateOptions,
  Decision,
  DecisionLease,
  DecisionOptions,
  ListOptions,
  NewSession,
  Store,
  StoredReply,
  StoreOptions,
} from '../store.ts'
import { appendToSession } from './append.ts'
import { removeStaleClaims } from './claim.ts'
import type { LeaseTimes, StoreContext } from './context.ts'
import {
  bytesPrefix,
  emptyLayout,
  exist,
  objectsOf,
  receivedOf,
  recordKey,
  replyKey,
  streamObjects,
} from './layout.ts'
import { defaultLeaseTimes, Lease } from './lease.ts'
import { listRecords } from './list.ts'
import { resetSession } from './losses.ts'
import { MemoryBudget } from './memory-budget.ts'
import { publishSessionObject } from './publish.ts'
import { type ObjectSession, type RecordState, SessionRecord, throwOutOfSync, toSession } from './record.ts'
import { finishRemoval, removeSession } from './remove.ts'
import { loadReply, writeReply } from './replies.ts'
import { InternalPrefix, type ObjectService } from './service/service.ts'
import { abortStrays } from './strays.ts'

export interface ObjectStoreSettings {
  readonly service: ObjectService
  /** Bytes of a part. */
  readonly partSize: number
  /** Bytes that all fragments in transit may use together. */
  readonly memory: number
  /** Longest name, in bytes of UTF-8, without the prefix of the service. */
  readonly maxNameBytes: number
  /** Default: {@link defaultLeaseTimes} */
  readonly leaseTimes?: LeaseTimes
}

/** The store of `azureStore` and `s3Store`: see README.md. */
export class ObjectStore implements Store<ObjectSession> {
  readonly isShared = true
  readonly #context: StoreContext
  readonly #maxNameBytes: number
  /** Leases of hooks that run, by record. */
  readonly #leases = new WeakMap<SessionRecord, Lease>()
  /** The check that the service supports what the store needs, before the first session. */
  #prepared: Promise<void> | undefined

  constructor(settings: ObjectStoreSettings) {
    const { service, partSize, memory, maxNameBytes, leaseTimes = defaultLeaseTimes } = settings
    this.#context = { service, partSize, leaseTimes, memory: new MemoryBudget(memory) }
    this.#maxNameBytes = maxNameBytes
  }

  async create(session: NewSession, options: CreateOptions = {}): Promise<ObjectSession> {
    const { service } = this.#context
    await this.#prepare()
    this.#checkName(session)
    const { mayReadBytes, signal } = options
    const serviceOptions = signal ? { signal } : {}
    const state: RecordState = {
      session,
      updatedAt: session.created,
      ...(mayReadBytes && { separate: true }),
    }
    const [record, found] = await Promise.allSettled([
      SessionRecord.create(service, state, serviceOptions),
      session.overwrite ? undefined : service.head(session.name, serviceOptions),
    ])
    if (record.status === 'rejected') throw record.reason
    if (found.status === 'fulfilled' && !found.value) return toSession(record.value)
    await service.remove([recordKey(session.id)])
    throw found.status === 'rejected' ? found.reason : new BitsError('destination-exists')
  }

  async load(id: string, options: StoreOptions = {}): Promise<ObjectSession | undefined> {
    const { service } = this.#context
    const record = await SessionRecord.read(service, id, options)
    if (!record || record.state.removed) return undefined
    const { layout = emptyLayout, total, separate } = record.state
    const prefix = bytesPrefix(id)
    const objects = objectsOf(prefix, layout, separate)
    const isComplete = receivedOf(layout) === total && !isFinal(record.state)
    // At each of thousands of fragments that would be too expensive.
    if (!isComplete || objects.length === 0 || (await exist(service, prefix, objects, options))) {
      return toSession(record)
    }
    // Another node may have replaced or published the objects that are missing.
    const current = await SessionRecord.read(service, id, options)
    return current?.version === record.version ? toSession(record, false) : this.load(id, options)
  }

  /** `durable` needs no treatment: an object is durable when the service has answered. */
  async append(session: ObjectSession, body: Body, options: AppendOptions): Promise<ObjectSession> {
    // Whether the service checks conditions is known afterwards.
    await this.#prepare()
    return appendToSession(this.#context, session, body, options)
  }

  async acquireDecision(
    { record }: ObjectSession,
    { signal, timeout }: DecisionOptions,
  ): Promise<DecisionLease<ObjectSession>> {
    for (;;) {
      const session = toSession(record)
      const { layout, separate } = record.state
      if (session.state !== 'receiving' || session.received !== session.total) {
        return { session, release: async () => {} }
      }
      // The session was created by a server without the hook.
      if (!separate && layout && layout.parts.length > 0) {
        await resetSession(this.#context, record, undefined, { separate: true })
      }
      try {
        const lease = await Lease.acquire(this.#context, record, {}, { signal, timeout })
        this.#leases.set(record, lease)
        const release = (): Promise<void> => {
          this.#leases.delete(record)
          return lease.release()
        }
        return { session, release }
      } catch (error) {
        // Instead of the error of the SDK, or of the timer.
        signal?.throwIfAborted()
        if (!(error instanceof BitsError && error.code === 'out-of-sync')) throw error
      }
    }
  }

  async accept({ record }: ObjectSession, decision: Decision): Promise<void> {
    await record.update({ accepted: decision })
  }

  async reject({ id, record }: ObjectSession, reason: string): Promise<void> {
    const { service } = this.#context
    const { layout = emptyLayout, separate, strays, session } = record.state
    const { upload } = layout
    const mayHaveStrays = service.keepsUploads && upload !== undefined
    await record.update({
      rejected: reason,
      layout: undefined,
      lease: undefined,
      strays: mayHaveStrays || strays,
    })
    // What is not removed now is removed with the session.
    const keys = objectsOf(bytesPrefix(id), layout, separate).map(({ key }) => key)
    await service.remove(keys).catch(() => {})
    if (mayHaveStrays) await service.abortUpload(session.name, upload).catch(() => {})
  }

  async publish({ record }: ObjectSession, { signal }: StoreOptions = {}): Promise<void> {
    await this.#prepare()
    if (record.state.published) return
    await publishSessionObject(this.#context, record, { lease: this.#leases.get(record), signal }).catch(
      throwOutOfSync,
    )
  }

  read({ id, record }: ObjectSession): Readable {
    const { layout = emptyLayout, separate } = record.state
    return streamObjects(this.#context.service, objectsOf(bytesPrefix(id), layout, separate))
  }

  async saveReply(
    { id, record }: ObjectSession,
    body: Body = emptyReply(),
    { signal }: StoreOptions = {},
  ): Promise<void> {
    const { service } = this.#context
    const previous = record.state.reply
    const reply = await writeReply(this.#context, id, body, signal ? { signal } : {})
    await record.update({ reply })
    // A reply that is not removed now is removed with the session.
    if (previous) await service.remove([replyKey(id, previous)]).catch(() => {})
  }

  async loadReply({ id, record }: ObjectSession, options?: StoreOptions): Promise<StoredReply | undefined> {
    const { reply } = record.state
    return reply === undefined ? undefined : loadReply(this.#context, id, reply, options)
  }

  remove({ record }: ObjectSession, { signal }: StoreOptions = {}): Promise<void> {
    return removeSession(this.#context, record, signal ? { signal } : {})
  }

  async *list(options: ListOptions = {}): AsyncIterable<ObjectSession> {
    await this.#prepare()
    const { signal } = options
    const removed: SessionRecord[] = []
    let failure: unknown
    const onFailure = (error: unknown): void => {
      failure ??= error
    }
    for await (const record of listRecords(this.#context.service, options)) {
      if (!record.state.removed) yield toSession(record)
      else {
        await finishRemoval(this.#context, record).catch(onFailure)
        if (record.state.starting || record.state.strays) removed.push(record)
      }
    }
    const serviceOptions = signal ? { signal } : {}
    await abortStrays(this.#context, removed, serviceOptions)
    await removeStaleClaims(this.#context.service, serviceOptions)
    // What is left of one session must not hide the others.
    if (failure) throw failure
  }

  #prepare(): Promise<void> {
    this.#prepared ??= this.#context.service.prepare().catch((error) => {
      this.#prepared = undefined
      throw error
    })
    return this.#prepared
  }

  #checkName({ name }: NewSession): void {
    // The internal prefix is reserved at any place in a name, because stores with another prefix use it
    // there.
    if (`${name}/`.toLowerCase().includes(InternalPrefix)) {
      throw new BitsError('invalid-destination', 'The name contains the reserved folder .bits-sessions')
    }
    if (Buffer.byteLength(name) > this.#maxNameBytes) {
      throw new BitsError('invalid-destination', 'The name is too long for the object service')
    }
  }
}

async function* emptyReply(): AsyncGenerator<never> {}
