import { BitsError } from '../../protocol/errors.ts'
import { readGuid } from '../../protocol/packet.ts'
import type { ListOptions } from '../store.ts'
import { recordKey, recordsPrefix, uploadPrefix, uploadsPrefix } from './layout.ts'
import { SessionRecord } from './record.ts'
import { removePrefix } from './remove.ts'
import type { ObjectService } from './service/service.ts'

/** Records that are read at a time. */
const MaxRecordReads = 16

/**
 * Yields the records of all sessions, in the order of their ids, also of sessions that were removed. Removes the objects of
 * sessions without a record.
 */
export async function* listRecords(
  service: ObjectService,
  { onUnreadable, ...options }: ListOptions,
): AsyncGenerator<SessionRecord> {
  let failure: unknown
  const uploads = service.folders(uploadsPrefix, options)[Symbol.asyncIterator]()
  let upload = await uploads.next()
  /** Both lists are in the same order: an id below `id` that only the list of uploads has, has no record. */
  const removeOrphansUpTo = async (id: string | undefined): Promise<void> => {
    for (; !upload.done && (id === undefined || upload.value <= id); upload = await uploads.next()) {
      if (upload.value !== id) await removeIfUnrecorded(service, upload.value)
    }
  }
  try {
    let ids: string[] = []
    for await (const { key } of service.list(recordsPrefix, options)) {
      const id = key.slice(recordsPrefix.length)
      // Objects of other programs, such as the empty object by which a console represents a folder.
      if (readGuid(id) !== id) continue
      ids.push(id)
      if (ids.length < MaxRecordReads) continue
      yield* readRecords(ids)
      ids = []
    }
    yield* readRecords(ids)
    await removeOrphansUpTo(undefined)
    if (failure) throw failure
  } finally {
    await uploads.return?.(undefined)
  }

  async function* readRecords(ids: readonly string[]): AsyncGenerator<SessionRecord> {
    const records = await Promise.allSettled(ids.map((id) => SessionRecord.read(service, id, options)))
    for (const [i, record] of records.entries()) {
      await removeOrphansUpTo(ids[i])
      if (record.status === 'rejected') {
        // The service failed: this concerns all records.
        if (!(record.reason instanceof BitsError)) throw record.reason
        if (onUnreadable) onUnreadable(record.reason)
        else failure ??= record.reason
      } else if (record.value) yield record.value
    }
  }
}

/**
 * The record is the first object of a session, and its id is never used again: without a record the rest is
 * obsolete.
 */
async function removeIfUnrecorded(service: ObjectService, id: string): Promise<void> {
  if (!(await service.head(recordKey(id)))) await removePrefix(service, uploadPrefix(id))
}
