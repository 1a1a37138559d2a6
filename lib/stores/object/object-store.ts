import type { Readable } from 'node:stream'
import type { Locker } from '../../locks/locker.ts'
import { BitsError } from '../../protocol/errors.ts'
import { isFinal } from '../state.ts'
import type {
  AppendOptions,
  Body,
  Decision,
  NewSession,
  Session,
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
  readThrough,
  receivedOf,
  recordKey,
  replyKey,
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
  /** Locks that hold among all who share the objects; undefined: there is only this process. */
  readonly locker: Locker | undefined
  /** Keeps those apart who publish under one name. */
  readonly names: Locker
  /** Clears away what dead servers have left of their locks. */
  readonly clearLocks?: ((options: StoreOptions) => Promise<void>) | undefined
  /** Bytes of a part. */
  readonly part: number
  /** Bytes that all fragments on their way may take together. */
  readonly memory: number
  /** Longest name, in bytes of UTF-8, with what its user puts before it. */
  readonly longest: number
}

/** See `azureStore` and `s3Store`. */
export class ObjectStore implements Store {
  readonly locker?: Locker
  readonly #service: ObjectService
  readonly #names: Locker
  readonly #clearLocks: ObjectStoreSettings['clearLocks']
  readonly #part: number
  readonly #longest: number
  readonly #memory: MemoryBudget
  /** A service that does not keep its word must not be trusted with a session. */
  #prepared: Promise<void> | undefined

  constructor({ service, locker, names, clearLocks, part, memory, longest }: ObjectStoreSettings) {
    if (locker) this.locker = locker
    this.#service = service
    this.#names = names
    this.#clearLocks = clearLocks
    this.#part = part
    this.#longest = longest
    this.#memory = new MemoryBudget(memory, part)
  }

  async create(session: NewSession, options: StoreOptions = {}): Promise<ObjectSession> {
    await this.#prepare()
    this.#checkName(session)
    const { name, overwrite } = session
    if (!overwrite && (await this.#service.head(name, options))) throw new BitsError('destination-exists')
    return toSession(await SessionRecord.begin(this.#service, session, options))
  }

  async load(id: string, options: StoreOptions = {}): Promise<ObjectSession | undefined> {
    const [record, first] = await Promise.all([
      SessionRecord.read(this.#service, id, options),
      ObjectListing.load(this.#service, id, options),
    ])
    if (!record) return undefined
    const { held, total } = record.facts
    if (!held || isFinal(record.facts)) return toSession(record)
    // All are looked at before the file is called complete; at each of thousands of fragments it would cost too much.
    const isEnough = first.isAll || receivedOf(held) !== total
    return isEnough && first.covers(held) ? toSession(record) : this.#lookAtAll(record, options)
  }

  /** The list may have been made before the record was advanced, by somebody who lost the session's lock: that is no loss. */
  async #lookAtAll(seen: SessionRecord, options: StoreOptions): Promise<ObjectSession | undefined> {
    const { id } = seen.facts.session
    const found = await ObjectListing.load(this.#service, id, { ...options, limit: Number.POSITIVE_INFINITY })
    const record = await SessionRecord.read(this.#service, id, options)
    if (!record) return undefined
    if (!record.hasSameVersion(seen)) return this.#lookAtAll(record, options)
    return toSession(record, !record.facts.held || found.covers(record.facts.held))
  }

  async append(session: Session, body: Body, { total, durable: _, signal }: AppendOptions): Promise<Session> {
    const record = await this.#recordOf(session)
    const place = bytesPrefix(session.id)
    const options = signal ? { signal } : {}
    const writer = new Writer(
      this.#service,
      place,
      this.#heldOf(session, record, total),
      this.#memory,
      options,
    )
    // What vanished was accepted, not what comes in its place.
    const anew = session.state === 'lost' ? { accepted: undefined } : {}
    const count = async (): Promise<void> => {
      const { held } = writer
      await record.update({ ...anew, held, total, updatedAt: Date.now() }).catch(overtaken)
      await writer.removeObsolete()
    }
    this.#memory.join()
    try {
      for await (const chunks of body) {
        signal?.throwIfAborted()
        await writer.write(chunks)
        if (!writer.needsCheckpoint) continue
        await writer.flush()
        await count()
      }
      await writer.flush()
    } catch (error) {
      // What came is held, whatever ended it: first all of it, if that still goes, else what was written.
      await writer.flush().catch(() => {})
      await count().catch(() => {})
      throw error
    } finally {
      this.#memory.leave()
    }
    await count()
    return toSession(record)
  }

  async accept(session: Session, decision: Decision): Promise<void> {
    await (await this.#recordOf(session)).update({ accepted: decision })
  }

  async reject(session: Session, reason: string): Promise<void> {
    const record = await this.#recordOf(session)
    await this.#settle(record, { rejected: reason })
  }

  async publish(session: Session): Promise<void> {
    const record = await this.#recordOf(session)
    if (record.facts.published) return
    await publishSessionObject(this.#service, this.#names, this.#memory, record)
    await this.#settle(record, { published: true })
  }

  /** Notes what needs the bytes no more, and drops them. */
  async #settle(record: SessionRecord, fact: Pick<RecordState, 'published' | 'rejected'>): Promise<void> {
    const { held, session } = record.facts
    await record.update({ ...fact, held: undefined })
    // What is not removed now goes with the session.
    await this.#service.remove(keysOf(session.id, held)).catch(() => {})
  }

  read(session: Session): Readable {
    const { id, record } = session as ObjectSession
    const { held } = record.facts
    const place = bytesPrefix(id)
    const sources = held ? objectsOf(held) : []
    return readThrough(
      this.#service,
      sources.map(({ key, size }) => ({ key: place + key, size })),
    )
  }

  async saveReply(
    session: Session,
    body: Body = emptyReadable(),
    { signal }: StoreOptions = {},
  ): Promise<void> {
    const record = await this.#recordOf(session)
    const { reply: earlier } = record.facts
    const settings = { part: this.#part, memory: this.#memory }
    const reply = await writeReply(
      this.#service,
      session.id,
      body,
      signal ? { ...settings, signal } : settings,
    )
    await record.update({ reply })
    // What is not removed now goes with the session.
    if (earlier) await this.#service.remove([replyKey(session.id, earlier)]).catch(() => {})
  }

  async loadReply(session: Session, options?: StoreOptions): Promise<StoredReply | undefined> {
    const { reply } = (await this.#recordOf(session)).facts
    return reply === undefined ? undefined : loadReply(this.#service, session.id, reply, options)
  }

  async remove(session: Session): Promise<void> {
    const { id } = session
    const stands = await SessionRecord.read(this.#service, id)
    if (stands) {
      const { record = stands } = session as Partial<ObjectSession>
      // Nothing changes, but whoever lost the session's lock learns it here: it may have gone on.
      await record.update({})
      await abandonPublication(this.#service, this.#names, record.facts)
    }
    // The record last: as long as it stands, the rest will be found and removed.
    await removePrefix(this.#service, uploadPrefix(id))
    await this.#service.remove([recordKey(id)])
  }

  async *list(options: StoreOptions = {}): AsyncIterable<Session> {
    await this.#prepare()
    for await (const record of listRecords(this.#service, options)) yield toSession(record)
    await this.#clearLocks?.(options)
  }

  #heldOf(session: Session, { facts }: SessionRecord, total: number): UploadLayout {
    if (facts.held && session.state !== 'lost') return facts.held
    const { maxSources } = this.#service
    return emptyLayout(total, { part: this.#part, epoch: randomId(), maxSources })
  }

  async #recordOf(session: Session): Promise<SessionRecord> {
    const { record = await SessionRecord.read(this.#service, session.id) } = session as Partial<ObjectSession>
    if (!record) throw new BitsError('session-not-found')
    return record
  }

  #prepare(): Promise<void> {
    this.#prepared ??= this.#service.prepare().catch((error) => {
      this.#prepared = undefined
      throw error
    })
    return this.#prepared
  }

  #checkName({ name }: NewSession): void {
    // Not only at its beginning: stores of other prefixes have theirs there.
    if (`${name}/`.toLowerCase().includes(InternalPrefix)) {
      throw new BitsError('invalid-destination', 'The destination lies outside of the store')
    }
    if (Buffer.byteLength(name) > this.#longest) {
      throw new BitsError('invalid-destination', 'The object service cannot have this name')
    }
  }
}

/** A fragment is told to go on where the other server is; what decides over the upload is only tried again. */
function overtaken(error: unknown): never {
  if (!(error instanceof ConditionFailed)) throw error
  throw new BitsError('out-of-sync', 'Another server went on with the session', { cause: error })
}

const keysOf = (id: string, held: UploadLayout | undefined): string[] =>
  held ? objectsOf(held).map(({ key }) => bytesPrefix(id) + key) : []

async function* emptyReadable(): AsyncGenerator<never> {}
