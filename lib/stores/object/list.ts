import { recordKey, recordPlaces, uploadPlaces, uploadPrefix } from './layout.ts'
import { SessionRecord } from './record.ts'
import type { ObjectService, ServiceOptions } from './service/service.ts'

/** Records that are asked for at the same time. */
const RemoveConcurrency = 16

/** All sessions, in the order of their ids. What has no record is cleared away meanwhile. */
export async function* listRecords(
  service: ObjectService,
  options: ServiceOptions,
): AsyncGenerator<SessionRecord> {
  const uploads = service.folders(uploadPlaces, options)[Symbol.asyncIterator]()
  let upload = await uploads.next()
  /** Both lists come in the same order: what the one has before an id, and the other has not, has no record. */
  const clearUpTo = async (id: string | undefined): Promise<void> => {
    for (; !upload.done && (id === undefined || upload.value <= id); upload = await uploads.next()) {
      if (upload.value !== id) await removeOrphan(service, upload.value)
    }
  }
  try {
    let ids: string[] = []
    for await (const { key } of service.list(recordPlaces, options)) {
      ids.push(key.slice(recordPlaces.length))
      if (ids.length < RemoveConcurrency) continue
      yield* recordsOf(ids)
      ids = []
    }
    yield* recordsOf(ids)
    await clearUpTo(undefined)
  } finally {
    await uploads.return?.(undefined)
  }

  async function* recordsOf(ids: readonly string[]): AsyncGenerator<SessionRecord> {
    const records = await Promise.all(ids.map((id) => SessionRecord.read(service, id, options)))
    for (const [i, record] of records.entries()) {
      await clearUpTo(ids[i])
      if (record) yield record
    }
  }
}

/** A session's record is there before anything else of it, and its id is never used again. */
async function removeOrphan(service: ObjectService, id: string): Promise<void> {
  if (!(await service.head(recordKey(id)))) await removePrefix(service, uploadPrefix(id))
}

/** Removes all below a place. */
export async function removePrefix(service: ObjectService, place: string): Promise<void> {
  let keys: string[] = []
  let count = 0
  for await (const { key } of service.list(place)) {
    count += 1
    keys.push(key)
    if (keys.length < 1000) continue
    await service.remove(keys)
    keys = []
  }
  if (count === 0) return
  await service.remove(keys)
  // A join that died has its sources beside it.
  await service.abortUploads(place)
}
