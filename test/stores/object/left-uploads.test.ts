import { afterEach, describe, expect, it, vi } from 'vitest'
import { ObjectStore } from '../../../lib/stores/object/object-store.ts'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { NewSession, Store } from '../../../lib/stores/store.ts'
import { memoryObjectService } from '../../support/memory-object-service.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, listed, loaded, newSession, refusal } from '../../support/store.ts'

const day = 24 * 60 * 60_000
const total = 3500
const file = Buffer.alloc(total, 7)

const storeOn = (service: ObjectService): Store =>
  new ObjectStore({ service, partSize: 4000, memory: 2 ** 20, maxNameBytes: 1024 })

/** Sends the whole file, which then is published by one PUT. Then ends the session, and sweeps two days later. */
async function publishAtOnceAndSweep(store: Store, { id }: NewSession): Promise<void> {
  await store.append(await loaded(store, id), body(file), { total, durable: true, publish: true })
  await store.remove(await loaded(store, id))
  vi.useFakeTimers({ now: Date.now() + 2 * day, toFake: ['Date'] })
  await listed(store)
}

async function uploadsOf(service: ObjectService): Promise<string[]> {
  const ids: string[] = []
  for await (const { id } of service.listUploads('')) ids.push(id)
  return ids
}

describe('An upload that is not needed, because the file was published by one PUT,', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is aborted by a sweep if its node died before it recorded the id', async () => {
    const service = memoryObjectService({ semantics: 'S3', minPartBytes: 1000 })
    const store = storeOn(service)
    const session = newSession()
    await store.create(session)
    const created = withResolvers<void>()
    const dying = storeOn({
      ...service,
      async createUpload(key, options) {
        await service.createUpload(key, options)
        created.resolve()
        return new Promise(() => {})
      },
    })
    void dying.append(await loaded(dying, session.id), body(file.subarray(500)), { total, durable: false })
    await created.promise
    await publishAtOnceAndSweep(store, session)
    expect(await uploadsOf(service)).toEqual([])
    expect(await store.load(session.id)).toBeUndefined()
  })

  it('is aborted if that was not recorded', async () => {
    const service = memoryObjectService({ semantics: 'S3', minPartBytes: 1000 })
    const store = storeOn(service)
    const session = newSession()
    await store.create(session)
    const dying = storeOn({
      ...service,
      async put(key, chunks, options) {
        if (key !== session.name) throw new Error('killed')
        return service.put(key, chunks, options)
      },
    })
    const options = { total, durable: true, publish: true }
    const publishing = dying.append(await loaded(dying, session.id), body(file), options)
    await expect(publishing).rejects.toThrow('killed')
    // The client sends the file again, in smaller fragments.
    const first = { total, durable: false }
    const half = await store.append(await loaded(store, session.id), body(file.subarray(1500)), first)
    const done = await store.append(half, body(file.subarray(2000)), options)
    expect(done.state).toBe('published')
    expect(await uploadsOf(service)).toEqual([])
  })

  it('is aborted by a sweep if its first part was overwritten', async () => {
    const service = memoryObjectService({ semantics: 'S3', minPartBytes: 1000 })
    const store = storeOn(service)
    const session = newSession()
    await store.create(session)
    const first = await store.append(await loaded(store, session.id), body(file.subarray(500)), {
      total,
      durable: false,
    })
    const [upload = ''] = await uploadsOf(service)
    await service.putPart(session.name, { upload, number: 1 }, [Buffer.alloc(1000)])
    const rest = { total, durable: true, publish: true }
    await expect(store.append(first, body(file.subarray(3000)), rest)).rejects.toEqual(refusal('out-of-sync'))
    expect((await loaded(store, session.id)).received).toBe(0)
    await publishAtOnceAndSweep(store, session)
    expect(await uploadsOf(service)).toEqual([])
  })
})
