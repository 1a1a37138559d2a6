import { lookup } from 'mime-types'
import type { Locker } from '../../locks/locker.ts'
import { BitsError } from '../../protocol/errors.ts'
import type { NewSession } from '../store.ts'
import {
  bytesPrefix,
  layoutSize,
  objectsOf,
  randomId,
  readAll,
  receivedOf,
  type UploadLayout,
} from './layout.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { RecordState, SessionRecord } from './record.ts'
import { encodeValue } from './service/metadata.ts'
import {
  ConditionFailed,
  type ObjectAttributes,
  type ObjectService,
  type PutOptions,
} from './service/service.ts'

/**
 * Makes the file appear under its name, whole: what a single part holds in one request that the service refuses if the
 * name is taken, more by a join inside the service.
 * @throws {BitsError} `destination-exists`
 */
export async function publishSessionObject(
  service: ObjectService,
  locker: Locker,
  memory: MemoryBudget,
  record: SessionRecord,
): Promise<void> {
  const { session, held, publishing } = record.facts
  const place = () => publishWithRetry(service, memory, record)
  if (!held || isSmall(held)) return place()
  await withName(locker, session, async () => {
    // A node that died may have left a join to this name.
    if (publishing) await service.abortUploads(session.name)
    else await record.update({ publishing: true })
    await place()
  })
}

/** Clears away what a publication left that did not come to its end. */
export async function abandonPublication(
  service: ObjectService,
  locker: Locker,
  { session, publishing, published }: RecordState,
): Promise<void> {
  if (publishing && !published) await withName(locker, session, () => service.abortUploads(session.name))
}

/** Not every service refuses at the end of a join that the name is taken: those to one name come one after the other. */
async function withName(locker: Locker, { name }: NewSession, work: () => Promise<void>): Promise<void> {
  const lock = await locker.acquire(`publish ${name}`)
  try {
    await work()
  } finally {
    await lock.release()
  }
}

/** How often a file is placed that others came before: each time one of them is done. After that the client comes again. */
const MaxPublishAttempts = 20

async function publishWithRetry(
  service: ObjectService,
  memory: MemoryBudget,
  record: SessionRecord,
): Promise<void> {
  const { session, held, total = 0 } = record.facts
  const { id, name, overwrite } = session
  const description = destinationAttributes(session, total)
  for (let tries = 1; ; tries += 1) {
    const found = await service.head(name)
    // What a crash, or an answer that was lost, left undone was only to be noted.
    if (found?.metadata.session === id) return
    if (found && !overwrite) throw new BitsError('destination-exists')
    // Only what stood there before the file was published by anybody is replaced: a server that was held up, or a
    // request, does not put it in the place of one that came after it.
    if (found) await record.assertCurrent()
    const condition = found ? { version: found.version } : 'absent'
    try {
      return await writeObject(service, memory, bytesPrefix(id), held, name, { description, condition })
    } catch (error) {
      if (!(error instanceof ConditionFailed) || tries === MaxPublishAttempts) throw error
    }
  }
}

/** S3 takes 2 KB of metadata: an owner that is longer, encoded, stands in the session alone. No upload is to fail of it. */
const LongestOwner = 1024

/** What users of an object service look for in a file. The session tells a second try that the first succeeded. */
function destinationAttributes({ id, name, owner }: NewSession, size: number): ObjectAttributes {
  const hasRoomForOwner = owner !== undefined && encodeValue(owner).length <= LongestOwner
  return {
    contentType: lookup(name) || 'application/octet-stream',
    metadata: { session: id, size: String(size), ...(hasRoomForOwner && { owner }) },
  }
}

const isSmall = (held: UploadLayout): boolean => receivedOf(held) <= held.part

/** Makes one object of what is held. */
export async function writeObject(
  service: ObjectService,
  memory: MemoryBudget,
  place: string,
  held: UploadLayout | undefined,
  key: string,
  options: PutOptions = {},
): Promise<void> {
  const sources = held ? objectsOf(held).map((object) => ({ ...object, key: place + object.key })) : []
  if (!held || isSmall(held)) {
    return memory.reserve(layoutSize(sources), async () => {
      await service.put(key, [await readAll(service, sources)], options)
    })
  }
  // A join takes nothing small but at its end.
  const pieces = sources.splice(sources.length - held.pieces.length)
  const [piece] = pieces
  if (!piece || pieces.length === 1) return service.compose([...sources, ...pieces], key, options)
  const tail = { key: `${place}${held.epoch}/tail-${randomId()}`, size: layoutSize(pieces) }
  await memory.reserve(tail.size, async () => service.put(tail.key, [await readAll(service, pieces)]))
  await service.compose([...sources, tail], key, options)
  await service.remove([tail.key]).catch(() => {})
}
