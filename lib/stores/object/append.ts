import { BitsError } from '../../protocol/errors.ts'
import type { AppendOptions, Body } from '../store.ts'
import type { StoreContext } from './context.ts'
import { bytesPrefix, emptyLayout, partSizes, type UploadLayout } from './layout.ts'
import { recoverOverwrittenParts, resetIfUnchanged, resetSession } from './losses.ts'
import { type DirectUpload, separateParts, sessionUpload } from './parts.ts'
import { destinationAttributes, publishSmallFile, publishUpload } from './publish.ts'
import { isOwnFile, recordPublication } from './published.ts'
import { type ObjectSession, outOfSync, type RecordChanges, type SessionRecord, toSession } from './record.ts'
import { ConditionFailed, ObjectMissing, UploadMissing } from './service/service.ts'
import { Writer } from './writer.ts'

/**
 * Milliseconds after which a cached record is read again before a small file is published: another node may have published it, and
 * a consumer may have removed it, before the client repeated its packet.
 */
const MaxCachedRecordMs = 5000

/** Appends a body to a session; publishes the file if that is requested, and all bytes are there. */
export async function appendToSession(
  context: StoreContext,
  session: ObjectSession,
  body: Body,
  options: AppendOptions,
): Promise<ObjectSession> {
  const append = new Append(context, session, options)
  context.memory.join()
  try {
    await append.write(body)
    await append.finish()
  } catch (error) {
    await append.recover(error)
    throw error
  } finally {
    context.memory.leave()
  }
  return toSession(session.record)
}

/** One call of `append`. */
class Append {
  readonly #context: StoreContext
  readonly #record: SessionRecord
  readonly #options: AppendOptions
  /** The layout in the record when the call began. */
  readonly #before: UploadLayout
  /** Undefined if parts are objects of their own. */
  readonly #upload: DirectUpload | undefined
  readonly #writer: Writer
  /** Changes that are made with each update of the record. */
  readonly #changes: RecordChanges
  /** Whether the record has a part of the upload. */
  #isPartRecorded: boolean
  #isPublishing = false

  constructor(context: StoreContext, session: ObjectSession, options: AppendOptions) {
    const { service } = context
    const { id, record } = session
    const { total, signal } = options
    const { layout, separate } = record.state
    const isLost = session.state === 'lost'
    const prefix = bytesPrefix(id)
    this.#context = context
    this.#record = record
    this.#options = options
    this.#before = (!isLost && layout) || emptyLayout
    this.#isPartRecorded = this.#before.parts.length > 0
    this.#changes = {
      total,
      // Bytes that replace lost ones were not accepted.
      ...(isLost && { accepted: undefined }),
      ...(isLost && layout?.upload !== undefined && service.keepsUploads && { strays: true }),
    }
    if (!separate) {
      const attributes = destinationAttributes(session, total)
      const serviceOptions = signal ? { signal } : {}
      this.#upload = sessionUpload(context, record, this.#before.upload, attributes, serviceOptions)
    }
    this.#writer = new Writer({
      ...context,
      prefix,
      layout: this.#before,
      target: this.#upload ?? separateParts(context, prefix),
      sizes: partSizes(service, context.partSize, total, this.#before),
      signal,
    })
  }

  async write(body: Body): Promise<void> {
    const { signal } = this.#options
    for await (const chunks of body) {
      signal?.throwIfAborted()
      await this.#writer.write(chunks)
      if (!this.#writer.needsCheckpoint) continue
      await this.#writer.flush()
      await this.#checkpoint()
    }
  }

  async finish(): Promise<void> {
    const { total, publish } = this.#options
    const isEnd = this.#writer.received === total
    this.#isPublishing = isEnd && publish === true && this.#upload !== undefined
    if (this.#isPublishing && !this.#writer.hasParts) return this.#publishSmallFile()
    await this.#writer.flush({ isEnd })
    if (!this.#isPublishing) return this.#checkpoint()
    // Otherwise two nodes could each have a complete upload, and publish the file twice.
    if (!this.#isPartRecorded) await this.#checkpoint()
    const { signal } = this.#options
    await publishUpload(this.#context, this.#record, this.#layout, { changes: this.#newChanges(), signal })
    await this.#writer.removeObsolete()
  }

  /**
   * Records the bytes that arrived before a failure.
   * @throws {BitsError} `out-of-sync` if the session must be loaded again
   */
  async recover(error: unknown): Promise<void> {
    const context = this.#context
    const record = this.#record
    if (error instanceof ConditionFailed) return this.#recoverFromConflict(error)
    if (error instanceof ObjectMissing) return resetSession(context, record, error)
    if (error instanceof UploadMissing) {
      if (!(await isOwnFile(context, record.state.session))) return resetIfUnchanged(context, record, error)
      await recordPublication(context, record, { completed: this.#upload?.id })
      throw outOfSync('Another server has published the file', error)
    }
    if (this.#isPublishing && error instanceof BitsError) return
    // All bytes that arrived count, if they can be written; otherwise those that were written.
    await this.#writer.flush().catch(() => {})
    await this.#checkpoint().catch(() => {})
  }

  get #layout(): UploadLayout {
    const upload = this.#upload?.id
    return { ...this.#writer.layout, ...(upload !== undefined && { upload }) }
  }

  #newChanges(): RecordChanges {
    return { ...this.#changes, updatedAt: Date.now() }
  }

  async #checkpoint(): Promise<void> {
    const layout = this.#layout
    await this.#record.update({
      ...this.#newChanges(),
      layout,
      ...(layout.upload !== undefined && { starting: undefined }),
    })
    this.#isPartRecorded = layout.parts.length > 0
    await this.#writer.removeObsolete()
  }

  /** The bytes are in no record, but in one PUT of the whole file. */
  async #publishSmallFile(): Promise<void> {
    const changes = { layout: this.#before, ...this.#newChanges() }
    const { signal } = this.#options
    const isOld = performance.now() - this.#record.checkedAt > MaxCachedRecordMs
    // Without a lost Ack a client sends its only fragment right after Create-Session.
    if (isOld && (await this.#record.reload())) throw outOfSync('Another server has updated the session')
    await publishSmallFile(this.#context, this.#record, await this.#writer.takeAll(), { changes, signal })
  }

  /** Another node has updated the record, while this one wrote bytes that it did not record. */
  async #recoverFromConflict(error: unknown): Promise<never> {
    const { service } = this.#context
    const record = this.#record
    const { upload, parts } = this.#layout
    const { name } = record.state.session
    const isNewUpload = upload !== undefined && upload !== this.#before.upload
    const abort = async (): Promise<void> => {
      if (isNewUpload) await service.abortUpload(name, upload).catch(() => {})
    }
    try {
      await record.reload()
    } catch (cause) {
      // If the record could not be read, it may have the upload.
      if (cause instanceof BitsError && cause.code === 'session-not-found') await abort()
      throw cause
    }
    const current = record.state.layout
    if (current?.upload !== upload) await abort()
    if (upload !== undefined && service.keepsUploads && current?.upload === upload) {
      // A part of this node may have replaced one of the other node, or the other way round.
      const isOverwritten = current.parts.some(([, tag], i) => parts[i] && parts[i][1] !== tag)
      if (isOverwritten) return recoverOverwrittenParts(this.#context, record, current.parts, error)
    }
    throw outOfSync('Another server has updated or removed the session', error)
  }
}
