import { lookup } from 'mime-types'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import { withClaim } from './claim.ts'
import type { StoreContext } from './context.ts'
import {
  bytesPrefix,
  emptyLayout,
  objectsOf,
  readIntoMemory,
  sizeOf,
  tailSources,
  type UploadLayout,
} from './layout.ts'
import { Lease, waitForOtherNode } from './lease.ts'
import { recoverOverwrittenParts, resetIfUnchanged, resetSession } from './losses.ts'
import { sessionUpload } from './parts.ts'
import { isOwnFile, recordPublication } from './published.ts'
import type { RecordChanges, SessionRecord } from './record.ts'
import { inParallel } from './service/parallel.ts'
import {
  ConditionFailed,
  encodeValue,
  type ObjectAttributes,
  ObjectMissing,
  PartsChanged,
  type Precondition,
  UploadMissing,
} from './service/service.ts'
import type { PendingBytes } from './writer.ts'

/**
 * Attempts to publish a file while other servers write the same name, one of which succeeds each time. After
 * the last attempt the client tries again.
 */
const MaxPublishAttempts = 20

/** Copies at a time. */
const MaxCopies = 8

/**
 * Longest percent-encoded owner in bytes that is stored as metadata. S3 accepts 2 KB of metadata; no upload
 * may fail because of a longer owner, which is then only in the session's record.
 */
const MaxOwnerBytes = 1024

/**
 * Publishes a session whose bytes are all in its record.
 * @param options the lease that the caller holds, and a signal that ends waits and copies
 * @throws {BitsError} `destination-exists`; `out-of-sync` if bytes were lost
 */
export async function publishSessionObject(
  context: StoreContext,
  record: SessionRecord,
  options: Pick<PublicationOptions, 'lease' | 'signal'>,
): Promise<void> {
  const { lease, signal } = options
  const { session, layout = emptyLayout, separate, total = 0 } = record.state
  if (layout.parts.length > 0 && !separate) return publishUpload(context, record, layout, { signal })
  if (layout.parts.length === 0) {
    const bytes = { tail: tailSources(bytesPrefix(session.id), layout.tail), chunks: [] }
    return publishSmallFile(context, record, bytes, { changes: { total }, lease, signal })
  }
  await withLease(context, record, { lease, signal }, (held) =>
    publishSeparateParts(context, record, held, layout, signal),
  )
}

interface PublicationOptions {
  /** Changes of the record that are made together with the publication. */
  readonly changes: RecordChanges & { readonly total?: number | undefined }
  /** That the caller holds. */
  readonly lease?: Lease | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Publishes a file by one PUT.
 *
 * A node that is delayed before its PUT must not replace a newer file, so with `overwrite` it holds the lease. Without
 * `overwrite` the condition of the PUT is enough.
 */
export async function publishSmallFile(
  context: StoreContext,
  record: SessionRecord,
  { tail, chunks }: PendingBytes,
  { changes, lease, signal }: PublicationOptions,
): Promise<void> {
  const { service, memory } = context
  const { session } = record.state
  const attributes = destinationAttributes(session, changes.total ?? 0)
  const put = (held: Lease | undefined): Promise<boolean> =>
    memory.reserve(sizeOf(tail), signal, async () => {
      const all =
        tail.length > 0
          ? [...(await readIntoMemory(service, tail, signal ? { signal } : {})), ...chunks]
          : chunks
      return publishWithRetry(context, record, async (condition) => {
        await held?.confirm()
        await service.put(session.name, all, { condition, attributes })
      })
    })
  const publish = async (held: Lease | undefined): Promise<void> => {
    if (service.checksCompletion) await put(held)
    // Otherwise a completion could replace the file, if it was written after the HEAD request before it.
    else await withClaim(context, session, () => put(held))
    await recordPublication(context, record, { completed: undefined, changes })
  }
  try {
    if (lease || !session.overwrite) await publish(lease)
    else await withLease(context, record, { changes, signal }, publish)
  } catch (error) {
    if (!(error instanceof ObjectMissing)) throw error
    await resetSession(context, record, error)
  }
  if (tail.length > 0) await service.remove(tail.map(({ key }) => key)).catch(() => {})
}

/** @param lease that the caller holds; otherwise one is acquired, and released in the end */
async function withLease(
  context: StoreContext,
  record: SessionRecord,
  { lease, changes = {}, signal }: Partial<PublicationOptions>,
  work: (lease: Lease) => Promise<void>,
): Promise<void> {
  const held = lease ?? (await Lease.acquire(context, record, changes, { signal }))
  try {
    await work(held)
  } finally {
    if (!lease) await held.release()
  }
}

/**
 * Completes the upload of a session to its final key.
 * @param layout of the whole file. Its last parts need not be in the record, if the record has some
 */
export async function publishUpload(
  context: StoreContext,
  record: SessionRecord,
  layout: UploadLayout,
  { changes = {}, signal }: Partial<Pick<PublicationOptions, 'changes' | 'signal'>> = {},
): Promise<void> {
  const { service } = context
  const { session, total = 0, lease } = record.state
  const { upload = '', parts } = layout
  // Its holder may be about to publish the file by one PUT.
  if (lease) await waitForOtherNode(record, context.leaseTimes, signal)
  const attributes = destinationAttributes(session, total)
  const tags = parts.map(([, tag]) => tag)
  const complete = (condition: Precondition): Promise<void> =>
    service.completeUpload(session.name, upload, tags, { condition, attributes })
  try {
    const isCompleted = await publishOnCondition(context, record, complete)
    if (!isCompleted) await service.abortUpload(session.name, upload)
  } catch (error) {
    if (error instanceof PartsChanged) return recoverOverwrittenParts(context, record, parts, error)
    if (!(error instanceof UploadMissing)) throw error
    // It was completed, and the answer was lost; or it was aborted by another program.
    if (!(await isOwnFile(context, session))) await resetIfUnchanged(context, record, error)
  }
  await recordPublication(context, record, { completed: upload, changes })
}

/** Joins parts that are objects of their own: the service copies them. */
async function publishSeparateParts(
  context: StoreContext,
  record: SessionRecord,
  lease: Lease,
  layout: UploadLayout,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { service } = context
  const { session, total = 0 } = record.state
  const { id, name, overwrite } = session
  const attributes = destinationAttributes(session, total)
  const sources = objectsOf(bytesPrefix(id), layout, true)
  // Before the copies, which may take long.
  const found = await service.head(name)
  if (found && !overwrite && found.metadata.session !== id) throw new BitsError('destination-exists')
  const target = sessionUpload(context, record, layout.upload, attributes, {})
  if (found?.metadata.session === id) {
    if (target.id !== undefined) await service.abortUpload(name, target.id)
  } else {
    const upload = await target.begin()
    if (layout.upload !== upload) {
      await record.update({ starting: undefined, layout: { ...layout, upload } })
    }
    try {
      const tags = await inParallel(sources, MaxCopies, signal, (source, either, i) =>
        service.copyPart(name, { upload, number: i + 1 }, source, { signal: either }),
      )
      const isCompleted = await publishOnCondition(context, record, async (condition) => {
        await lease.confirm()
        await service.completeUpload(name, upload, tags, { condition, attributes })
      })
      if (!isCompleted) await service.abortUpload(name, upload)
    } catch (error) {
      if (error instanceof ObjectMissing) await resetSession(context, record, error)
      if (!(error instanceof UploadMissing)) throw error
      if (!(await isOwnFile(context, session))) {
        // The next attempt begins another upload.
        const { upload: _, ...rest } = layout
        await record.update({ layout: rest })
        throw error
      }
    }
  }
  await recordPublication(context, record, { completed: target.id })
  await service.remove(sources.map(({ key }) => key)).catch(() => {})
}

/** As {@link publishWithRetry}, with a claim if the service ignores the condition of the request. */
async function publishOnCondition(
  context: StoreContext,
  record: SessionRecord,
  send: (condition: Precondition) => Promise<void>,
): Promise<boolean> {
  const { service } = context
  if (service.checksCompletion) return publishWithRetry(context, record, send)
  const { session } = record.state
  return withClaim(context, session, async () => {
    const found = await service.head(session.name)
    if (found?.metadata.session === session.id) return false
    if (found && !session.overwrite) throw new BitsError('destination-exists')
    await send(found ? { version: found.version } : 'absent')
    return true
  })
}

/**
 * Publishes by a request with a condition.
 * @returns false if the file of this session is there already
 * @throws {BitsError} `destination-exists`
 */
async function publishWithRetry(
  context: StoreContext,
  record: SessionRecord,
  send: (condition: Precondition) => Promise<void>,
): Promise<boolean> {
  const { service } = context
  const { id, name, overwrite } = record.state.session
  let found = overwrite ? await service.head(name) : undefined
  for (let attempt = 1; ; attempt += 1) {
    if (found?.metadata.session === id) return false
    if (found && !overwrite) throw new BitsError('destination-exists')
    try {
      await send(found ? { version: found.version } : 'absent')
      return true
    } catch (error) {
      if (!(error instanceof ConditionFailed) || attempt === MaxPublishAttempts) throw error
      found = await service.head(name)
    }
  }
}

/** Attributes for readers of the bucket. By the session id a repeated publication recognizes its own file. */
export function destinationAttributes({ id, name, owner }: NewSession, size: number): ObjectAttributes {
  const hasRoomForOwner = owner !== undefined && encodeValue(owner).length <= MaxOwnerBytes
  return {
    contentType: lookup(name) || 'application/octet-stream',
    metadata: { session: id, size: String(size), ...(hasRoomForOwner && { owner }) },
  }
}
