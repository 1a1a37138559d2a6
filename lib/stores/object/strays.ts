import type { StoreContext } from './context.ts'
import { recordKey, uploadsPrefix } from './layout.ts'
import { listRecords } from './list.ts'
import type { SessionRecord } from './record.ts'
import type { ServiceOptions } from './service/service.ts'

/**
 * Milliseconds after which an upload that is in no record belongs to no node that is about to record it. A wrong clock does no
 * harm: the upload that is then missing has no acknowledged bytes.
 */
const StrayAfterMs = 24 * 60 * 60_000

/**
 * Aborts uploads whose ids are in no record, because a node has failed, or the answer to its request was lost: those to the names of
 * sessions that were removed, and those of replies. Then removes the records of these sessions.
 * @param removed sessions that may have such uploads
 */
export async function abortStrays(
  { service }: Pick<StoreContext, 'service'>,
  removed: readonly SessionRecord[],
  options: ServiceOptions,
): Promise<void> {
  if (!service.keepsUploads) return
  const isOld = (time: number): boolean => Date.now() - time > StrayAfterMs
  for await (const { key, id, created } of service.listUploads(uploadsPrefix, options)) {
    if (isOld(created)) await service.abortUpload(key, id, options)
  }
  const due = removed.filter(({ state }) => isOld(state.updatedAt))
  if (due.length === 0) return
  const names = new Set(due.map(({ state }) => state.session.name))
  const known = new Set<string>()
  let hasUnreadable = false
  const onUnreadable = (): void => {
    hasUnreadable = true
  }
  for await (const { state } of listRecords(service, { ...options, onUnreadable })) {
    if (state.layout?.upload !== undefined && names.has(state.session.name)) known.add(state.layout.upload)
  }
  // The upload of a record that cannot be read must not be aborted.
  if (hasUnreadable) return
  for (const name of names) {
    for await (const { key, id, created } of service.listUploads(name, options)) {
      if (key === name && isOld(created) && !known.has(id)) await service.abortUpload(key, id, options)
    }
  }
  await service.remove(due.map(({ state }) => recordKey(state.session.id)))
}
