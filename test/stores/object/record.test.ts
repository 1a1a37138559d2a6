import { describe, expect, it, vi } from 'vitest'
import { type Bucket, memoryObjectService } from '../../support/memory-object-service.ts'
import { body, loaded, newSession } from '../../support/store.ts'
import { storeOn } from './fixture.ts'

/** A store with two sessions, and the object that holds the record of the first, which may be changed. */
async function storedRecord() {
  const bucket: Bucket = new Map()
  const store = storeOn(memoryObjectService({ bucket }))
  const created = await store.create(newSession({ owner: 'Jörg', metadata: { room: '12' } }))
  await store.append(created, body('abc'), { total: 3, durable: true })
  await store.accept(await loaded(store, created.id), { publish: true })
  const other = await store.create(newSession({ name: 'b.bin' }))
  const key = `.bits-sessions/records/${created.id}`
  const stored = bucket.get(key)
  if (!stored) throw new Error('There is no record')
  const replace = (bytes: Buffer): void => void bucket.set(key, { ...stored, bytes })
  const corrupt = { code: 'store-failed', message: expect.stringContaining(created.id) }
  return { store, created, other, bucket, key, bytes: stored.bytes, replace, corrupt }
}

describe('Record of a session in an object service', () => {
  it('is reported by its id as corrupt when any byte has changed', async () => {
    const { store, created, bytes, replace, corrupt } = await storedRecord()
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes.readUInt8(at)
      const flipped = Array.from({ length: 8 }, (_, bit) => byte ^ (1 << bit))
      for (const other of [...flipped, 0x0a, 0]) {
        const changed = Buffer.from(bytes)
        changed.writeUInt8(other, at)
        replace(changed)
        await expect(store.load(created.id), `byte ${at} as ${other}`).rejects.toMatchObject(corrupt)
      }
    }
    replace(bytes)
    expect(await loaded(store, created.id)).toMatchObject({ owner: 'Jörg', name: 'a.bin', received: 3 })
  })

  it('is reported as corrupt when it is cut off, or followed by other bytes', async () => {
    const { store, created, bytes, replace, corrupt } = await storedRecord()
    for (let length = 0; length < bytes.length; length += 1) {
      replace(bytes.subarray(0, length))
      await expect(store.load(created.id), `${length} bytes`).rejects.toMatchObject(corrupt)
    }
    replace(Buffer.concat([bytes, bytes]))
    await expect(store.load(created.id)).rejects.toMatchObject(corrupt)
  })

  it('is reported as corrupt when it is that of another session', async () => {
    const { store, created, other, bucket, replace, corrupt } = await storedRecord()
    replace(bucket.get(`.bits-sessions/records/${other.id}`)?.bytes as Buffer)
    await expect(store.load(created.id)).rejects.toMatchObject(corrupt)
  })

  it('is kept with its bytes by list when a byte has changed, and the other sessions are listed', async () => {
    const { store, other, bucket, bytes, replace, corrupt } = await storedRecord()
    const changed = Buffer.from(bytes)
    changed.write('K', changed.indexOf('Jörg'))
    replace(changed)
    const keys = [...bucket.keys()]
    const ids: string[] = []
    const errors: unknown[] = []
    for await (const { id } of store.list({ onUnreadable: (error) => errors.push(error) })) ids.push(id)
    expect(ids).toEqual([other.id])
    expect(errors).toMatchObject([corrupt])
    expect([...bucket.keys()]).toEqual(keys)
  })
  it('is reported by its id and kept when it is of a newer format, also without a checksum', async () => {
    const { store, created, other, bucket, key, replace } = await storedRecord()
    replace(Buffer.from(JSON.stringify({ version: 2, session: created.id })))
    const keys = [...bucket.keys()]
    const newer = {
      code: 'store-failed',
      message: expect.stringContaining(`${created.id} has format 2`),
    }
    await expect(store.load(created.id)).rejects.toMatchObject(newer)
    const errors: unknown[] = []
    const ids: string[] = []
    for await (const { id } of store.list({ onUnreadable: (error) => errors.push(error) })) ids.push(id)
    expect([ids, errors]).toMatchObject([[other.id], [newer]])
    expect([...bucket.keys()]).toEqual(keys)
    expect(keys).toContain(key)
  })

  it('makes list fail at once when the service fails, because that concerns all records', async () => {
    const { bucket } = await storedRecord()
    const service = memoryObjectService({ bucket })
    const store = storeOn({ ...service, get: () => Promise.reject(new Error('connection lost')) })
    const onUnreadable = vi.fn()
    const list = async () => {
      for await (const _ of store.list({ onUnreadable }));
    }
    await expect(list()).rejects.toThrow('connection lost')
    expect(onUnreadable).not.toHaveBeenCalled()
  })
})
