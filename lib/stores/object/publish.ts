import { lookup } from 'mime-types'
import type { Locker } from '../../locks/locker.ts'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import {
  bytesPrefix,
  objectsOf,
  randomId,
  readIntoMemory,
  receivedOf,
  sizeOf,
  type UploadLayout,
} from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { RecordState, SessionRecord } from './record.ts'
import {
  ConditionFailed,
  encodeValue,
  type ObjectAttributes,
  type ObjectService,
  type PutOptions,
} from './service/service.ts'

/**
 * Attempts to publish a file while other servers write the same name, one of which succeeds each time. After
 * the last attempt the client tries again.
 */
const MaxPublishAttempts = 20

/**
 * Longest percent-encoded owner in bytes that is stored as metadata. S3 accepts 2 KB of metadata; no upload
 * may fail because of a longer owner, which is then only in the session's record.
 */
const MaxOwnerBytes = 1024

/**
 * Publishes a file under its name, complete: a file of one part is written by one request, which the service
 * refuses if the name is taken; a larger one is composed inside the service.
 * @throws {BitsError} `destination-exists`
 */
export async function publishSessionObject(
  service: ObjectService,
  locker: Locker,
  memory: MemoryBudget,
  record: SessionRecord,
): Promise<void> {
  const { session, layout, publishing } = record.state
  const publish = () => publishWithRetry(service, memory, record)
  if (!layout || fitsInOnePart(layout)) return publish()
  await withNameLock(locker, session, async () => {
    // A failed node may have left an unfinished upload to this name.
    if (publishing) await service.abortUploads(session.name)
    else await record.update({ publishing: true })
    await publish()
  })
}

/** Removes what an interrupted publication left. */
export async function abandonPublication(
  service: ObjectService,
  locker: Locker,
  { session, publishing, published }: RecordState,
): Promise<void> {
  if (publishing && !published) {
    await withNameLock(locker, session, () => service.abortUploads(session.name))
  }
}

/**
 * Some services do not check the condition when a compose call completes, so those to one name run one at a
 * time.
 */
async function withNameLock(locker: Locker, { name }: NewSession, work: () => Promise<void>): Promise<void> {
  const lock = await locker.acquire(`publish ${name}`)
  try {
    await work()
  } finally {
    await lock.release()
  }
}

async function publishWithRetry(
  service: ObjectService,
  memory: MemoryBudget,
  record: SessionRecord,
): Promise<void> {
  const { session, layout, total = 0 } = record.state
  const { id, name, overwrite } = session
  const attributes = destinationAttributes(session, total)
  for (let attempt = 1; ; attempt += 1) {
    const found = await service.head(name)
    // The file was published before a crash, or the response was lost. Only the record was not updated.
    if (found?.metadata.session === id) return
    if (found && !overwrite) throw new BitsError('destination-exists')
    // Another server may have published this upload, and a newer one after it. A delayed server or request
    // must not replace the newer file: it replaces only an object that it has seen while the record was
    // current.
    if (found) await record.assertCurrent()
    const condition = found ? { version: found.version } : 'absent'
    try {
      return await writeObject(service, memory, bytesPrefix(id), layout, name, { attributes, condition })
    } catch (error) {
      if (!(error instanceof ConditionFailed) || attempt === MaxPublishAttempts) throw error
    }
  }
}

/** Attributes for readers of the bucket. By the session id a repeated publication recognizes its own file. */
function destinationAttributes({ id, name, owner }: NewSession, size: number): ObjectAttributes {
  const hasRoomForOwner = owner !== undefined && encodeValue(owner).length <= MaxOwnerBytes
  return {
    contentType: lookup(name) || 'application/octet-stream',
    metadata: { session: id, size: String(size), ...(hasRoomForOwner && { owner }) },
  }
}

const fitsInOnePart = (layout: UploadLayout): boolean => receivedOf(layout) <= layout.partSize

/**
 * Writes one object with all bytes of a layout.
 * @param prefix of the keys of the layout
 * @param layout undefined: an empty object
 */
export async function writeObject(
  service: ObjectService,
  memory: MemoryBudget,
  prefix: string,
  layout: UploadLayout | undefined,
  key: string,
  options: PutOptions = {},
): Promise<void> {
  const sources = layout ? objectsOf(layout).map((object) => ({ ...object, key: prefix + object.key })) : []
  if (!layout || fitsInOnePart(layout)) {
    return memory.reserve(sizeOf(sources), async () => {
      await service.put(key, [await readIntoMemory(service, sources)], options)
    })
  }
  // Only the last source of a compose call may be smaller than a part.
  const tail = sources.splice(sources.length - layout.tail.length)
  if (tail.length <= 1) return service.compose([...sources, ...tail], key, options)
  const joinedTail = { key: `${prefix}${layout.epoch}/tail-${randomId()}`, size: sizeOf(tail) }
  await memory.reserve(joinedTail.size, async () =>
    service.put(joinedTail.key, [await readIntoMemory(service, tail)]),
  )
  await service.compose([...sources, joinedTail], key, options)
  await service.remove([joinedTail.key]).catch(() => {})
}
