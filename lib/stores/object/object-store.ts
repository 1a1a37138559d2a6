import type { Readable } from 'node:stream'
import type { Locker } from '../../locks/locker.ts'
import { BitsError } from '../../protocol/errors.ts'
import { isFinal } from '../state.ts'
import type {
  AppendOptions,
  Body,
  Decision,
  ListOptions,
  NewSession,
  Store,
  StoredReply,
  StoreOptions,
} from '../store.ts'
import {
  bytesPrefix,
  emptyLayout,
  ObjectListing,
  objectsOf,
  randomId,
  receivedOf,
  recordKey,
  replyKey,
  streamObjects,
  type UploadLayout,
  uploadPrefix,
} from './layout.ts'
import { listRecords, removePrefix } from './list.ts'
import { MemoryBudget } from './memory-budget.ts'
import { abandonPublication, publishSessionObject } from './publish.ts'
import { type ObjectSession, type RecordState, SessionRecord, toSession } from './record.ts'
import { loadReply, writeReply } from './replies.ts'
import { ConditionFailed, InternalPrefix, type ObjectService } from './service/service.ts'
import { Writer } from './writer.ts'

export interface ObjectStoreSettings {
  readonly service: ObjectService
  /**
   * Locks of sessions, shared by all processes that use the objects; undefined: there is only this process.
   */
  readonly locker: Locker | undefined
  /** Locks of published names. */
  readonly nameLocker: Locker
  /** Removes what failed servers left of their locks. */
  readonly clearLocks?: ((options: StoreOptions) => Promise<void>) | undefined
  /** Bytes of a part. */
  readonly partSize: number
  /** Bytes that all fragments in transit may use together. */
  readonly memory: number
  /** Longest name, in bytes of UTF-8, without the prefix of the service. */
  readonly maxNameBytes: number
}

/** The store of `azureStore` and `s3Store`. */
export class ObjectStore implements Store<ObjectSession> {
  readonly locker?: Locker
  readonly #service: ObjectService
  readonly #nameLocker: Locker
  readonly #clearLocks: ObjectStoreSettings['clearLocks']
  readonly #partSize: number
  readonly #maxNameBytes: number
  readonly #memory: MemoryBudget
  /** The check that the service supports what the store needs, before the first session. */
  #prepared: Promise<void> | undefined

  constructor(settings: ObjectStoreSettings) {
    const { service, locker, nameLocker, clearLocks, partSize, memory, maxNameBytes } = settings
    if (locker) this.locker = locker
    this.#service = service
    this.#nameLocker = nameLocker
    this.#clearLocks = clearLocks
    this.#partSize = partSize
    this.#maxNameBytes = maxNameBytes
    this.#memory = new MemoryBudget(memory, partSize)
  }

  async create(session: NewSession, options: StoreOptions = {}): Promise<ObjectSession> {
    await this.#prepare()
    this.#checkName(session)
    const { name, overwrite } = session
    if (!overwrite && (await this.#service.head(name, options))) throw new BitsError('destination-exists')
    return toSession(await SessionRecord.create(this.#service, session, options))
  }

  async load(id: string, options: StoreOptions = {}): Promise<ObjectSession | undefined> {
    const [record, listing] = await Promise.all([
      SessionRecord.read(this.#service, id, options),
      ObjectListing.load(this.#service, id, options),
    ])
    if (!record) return undefined
    const { layout, total } = record.state
    if (!layout || isFinal(record.state)) return toSession(record)
    // All objects are checked when the file is complete; at each of thousands of fragments that would be too
    // expensive.
    const isSufficient = listing.isComplete || receivedOf(layout) !== total
    return isSufficient && listing.covers(layout)
      ? toSession(record)
      : this.#loadWithAllObjects(record, options)
  }

  /**
   * A server that lost the session's lock may have updated the record after the objects were listed. Missing
   * objects mean a loss only if the record is unchanged.
   */
  async #loadWithAllObjects(
    before: SessionRecord,
    options: StoreOptions,
  ): Promise<ObjectSession | undefined> {
    const { id } = before.state.session
    const limit = Number.POSITIVE_INFINITY
    const listing = await ObjectListing.load(this.#service, id, { ...options, limit })
    const record = await SessionRecord.read(this.#service, id, options)
    if (!record) return undefined
    if (!record.hasSameVersion(before)) return this.#loadWithAllObjects(record, options)
    return toSession(record, !record.state.layout || listing.covers(record.state.layout))
  }

  /** `durable` needs no treatment: an object is durable when the service has answered. */
  async append(session: ObjectSession, body: Body, { total, signal }: AppendOptions): Promise<ObjectSession> {
    const { id, record } = session
    const options = signal ? { signal } : {}
    const layout = this.#layoutOf(session, total)
    const writer = new Writer(this.#service, bytesPrefix(id), layout, this.#memory, options)
    // Bytes that replace lost ones were not accepted.
    const reset = session.state === 'lost' ? { accepted: undefined } : {}
    const checkpoint = async (): Promise<void> => {
      const { layout } = writer
      await record.update({ ...reset, layout, total, updatedAt: Date.now() }).catch(throwOutOfSync)
      await writer.removeObsolete()
    }
    this.#memory.join()
    try {
      for await (const chunks of body) {
        signal?.throwIfAborted()
        await writer.write(chunks)
        if (!writer.needsCheckpoint) continue
        await writer.flush()
        await checkpoint()
      }
      await writer.flush()
    } catch (error) {
      // All bytes that arrived before the failure count, if they can be written; otherwise those that were
      // written.
      await writer.flush().catch(() => {})
      await checkpoint().catch(() => {})
      throw error
    } finally {
      this.#memory.leave()
    }
    await checkpoint()
    return toSession(record)
  }

  async accept({ record }: ObjectSession, decision: Decision): Promise<void> {
    await record.update({ accepted: decision })
  }

  async reject({ record }: ObjectSession, reason: string): Promise<void> {
    await this.#finish(record, { rejected: reason })
  }

  async publish({ record }: ObjectSession): Promise<void> {
    if (record.state.published) return
    await publishSessionObject(this.#service, this.#nameLocker, this.#memory, record)
    await this.#finish(record, { published: true })
  }

  /** Records a final state, and removes the bytes. */
  async #finish(record: SessionRecord, change: Pick<RecordState, 'published' | 'rejected'>): Promise<void> {
    const { layout, session } = record.state
    await record.update({ ...change, layout: undefined })
    // Objects that are not removed now are removed with the session.
    await this.#service.remove(sourcesOf(session.id, layout).map(({ key }) => key)).catch(() => {})
  }

  read({ id, record }: ObjectSession): Readable {
    return streamObjects(this.#service, sourcesOf(id, record.state.layout))
  }

  async saveReply(
    { id, record }: ObjectSession,
    body: Body = emptyReply(),
    { signal }: StoreOptions = {},
  ): Promise<void> {
    const previous = record.state.reply
    const options = { partSize: this.#partSize, memory: this.#memory, ...(signal && { signal }) }
    const reply = await writeReply(this.#service, id, body, options)
    await record.update({ reply })
    // A reply that is not removed now is removed with the session.
    if (previous) await this.#service.remove([replyKey(id, previous)]).catch(() => {})
  }

  async loadReply({ id, record }: ObjectSession, options?: StoreOptions): Promise<StoredReply | undefined> {
    const { reply } = record.state
    return reply === undefined ? undefined : loadReply(this.#service, id, reply, options)
  }

  async remove({ id, record }: ObjectSession): Promise<void> {
    if (await SessionRecord.read(this.#service, id)) {
      // Changes nothing, but fails if another server has updated the session after this one lost its lock.
      await record.update({})
      await abandonPublication(this.#service, this.#nameLocker, record.state)
    }
    // The record is removed last: as long as it exists, the sweep finds the rest.
    await removePrefix(this.#service, uploadPrefix(id))
    await this.#service.remove([recordKey(id)])
  }

  async *list(options: ListOptions = {}): AsyncIterable<ObjectSession> {
    await this.#prepare()
    for await (const record of listRecords(this.#service, options)) yield toSession(record)
    const { signal } = options
    await this.#clearLocks?.(signal ? { signal } : {})
  }

  #layoutOf({ state, record }: ObjectSession, total: number): UploadLayout {
    const { layout } = record.state
    if (layout && state !== 'lost') return layout
    const { maxSources } = this.#service
    return emptyLayout(total, { partSize: this.#partSize, epoch: randomId(), maxSources })
  }

  #prepare(): Promise<void> {
    this.#prepared ??= this.#service.prepare().catch((error) => {
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

/**
 * A fragment that another server has overtaken gets the error by which the client asks for the current
 * offset. For decisions and publication ConditionFailed is answered as a failure, and the client repeats its
 * packet.
 */
function throwOutOfSync(error: unknown): never {
  if (!(error instanceof ConditionFailed)) throw error
  throw new BitsError('out-of-sync', 'Another server has updated or removed the session', { cause: error })
}

/** The objects with the bytes of a session, in order. */
const sourcesOf = (id: string, layout: UploadLayout | undefined): { key: string; size: number }[] =>
  layout ? objectsOf(layout).map(({ key, size }) => ({ key: bytesPrefix(id) + key, size })) : []

async function* emptyReply(): AsyncGenerator<never> {}
