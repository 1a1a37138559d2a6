import { BitsError } from '../../protocol/errors.ts'
import type { StoreContext } from './context.ts'
import { ListPageSize, recordKey, uploadPrefix } from './layout.ts'
import { waitForOtherNode } from './lease.ts'
import { type SessionRecord, throwOutOfSync } from './record.ts'
import { ConditionFailed, type ObjectService, type ServiceOptions } from './service/service.ts'

/**
 * Ends a session. First its record is marked, on the condition that no packet has updated it. From then on no update of another
 * node succeeds, so the rest can be removed. The record is removed last: as long as it exists, sweeps continue here.
 * @throws {BitsError} `out-of-sync` if a packet has updated it
 */
export async function removeSession(
  context: StoreContext,
  record: SessionRecord,
  { signal }: ServiceOptions,
): Promise<void> {
  const { service, leaseTimes } = context
  const { session, published, layout, reply, strays } = record.state
  if (published && !layout && !strays) {
    if (reply !== undefined) await removePrefix(service, uploadPrefix(session.id))
    return service.remove([recordKey(session.id)])
  }
  try {
    // Another node may be running the hook.
    if (record.state.lease) await waitForOtherNode(record, leaseTimes, signal)
    await record.update({ removed: true, lease: undefined, updatedAt: Date.now() })
  } catch (error) {
    if (await isSessionGone(record, error)) return
    throwOutOfSync(error)
  }
  await finishRemoval(context, record)
}

async function isSessionGone(record: SessionRecord, error: unknown): Promise<boolean> {
  const isMissing = (reason: unknown): boolean =>
    reason instanceof BitsError && reason.code === 'session-not-found'
  if (!(error instanceof ConditionFailed)) return isMissing(error)
  return record.reload().then(() => false, isMissing)
}

/** Removes what a session with the mark has left. */
export async function finishRemoval(
  { service }: Pick<StoreContext, 'service'>,
  record: SessionRecord,
): Promise<void> {
  const { session, layout, starting, strays } = record.state
  const { id, name } = session
  if (layout?.upload !== undefined) await service.abortUpload(name, layout.upload)
  await removePrefix(service, uploadPrefix(id))
  // A sweep removes the record a day later, with uploads whose ids are unknown.
  if (!starting && !strays) await service.remove([recordKey(id)])
}

/** Removes all objects below a prefix that ends with `/`. */
export async function removePrefix(service: ObjectService, prefix: string): Promise<void> {
  let keys: string[] = []
  for await (const { key } of service.list(prefix)) {
    keys.push(key)
    if (keys.length < ListPageSize) continue
    await service.remove(keys)
    keys = []
  }
  if (keys.length > 0) await service.remove(keys)
}
