import type { StoreContext } from './context.ts'
import type { Part } from './layout.ts'
import { waitForChange } from './lease.ts'
import { outOfSync, type RecordChanges, type SessionRecord, throwOutOfSync } from './record.ts'

/**
 * The upload of a session is missing, and its file is not there. Either another node has published it, a consumer has removed the
 * file, and the node is about to update the record; or the upload was lost. If the record does not change, the session starts
 * again at byte 0.
 * @throws {BitsError} `out-of-sync`, always: the caller loads the session again
 */
export async function resetIfUnchanged(
  context: StoreContext,
  record: SessionRecord,
  cause: unknown,
): Promise<never> {
  const before = record.version
  await waitForChange(record, context.leaseTimes, undefined)
  if (record.version === before) await resetSession(context, record, cause)
  throw outOfSync('Another server has updated the session', cause)
}

/**
 * Bytes of a session are lost: it starts again at byte 0.
 * @throws {BitsError} `out-of-sync`, always: the caller loads the session again
 */
export async function resetSession(
  { service }: Pick<StoreContext, 'service'>,
  record: SessionRecord,
  cause: unknown,
  changes: RecordChanges = {},
): Promise<never> {
  const { session, layout, starting, strays, separate } = record.state
  const mayHaveStrays = service.keepsUploads && (starting || layout?.upload !== undefined)
  await record
    .update({
      layout: undefined,
      accepted: undefined,
      lease: undefined,
      starting: undefined,
      strays: mayHaveStrays || strays,
      // A small upload of the same name may have discarded parts on Azure. It cannot discard objects.
      separate: separate ?? (service.keepsUploads ? undefined : true),
      ...changes,
    })
    .catch(throwOutOfSync)
  // Otherwise a sweep aborts it, a day after the end of the session.
  if (layout?.upload !== undefined) await service.abortUpload(session.name, layout.upload).catch(() => {})
  throw outOfSync('Bytes of the upload are missing', cause)
}

/**
 * A late request has overwritten parts of a session. The bytes before the first of them count.
 * @throws {BitsError} `out-of-sync`, always: the caller loads the session again
 */
export async function recoverOverwrittenParts(
  context: StoreContext,
  record: SessionRecord,
  parts: readonly Part[],
  cause: unknown,
): Promise<never> {
  const { service } = context
  const { session, layout } = record.state
  const tags = layout?.upload && (await service.listParts(session.name, layout.upload))
  if (!tags) return resetIfUnchanged(context, record, cause)
  const first = parts.findIndex(([, tag], i) => tags[i] !== tag)
  // Ceph 16 completes no upload with a part that is not named: a node that failed may have left one behind the last part.
  if (first < 0 && tags.length > parts.length) return resetSession(context, record, cause)
  if (first >= 0) {
    await record
      .update({ layout: { ...layout, parts: parts.slice(0, first), tail: [] }, accepted: undefined })
      .catch(throwOutOfSync)
  }
  throw outOfSync('Parts of the upload were overwritten by a late request', cause)
}
