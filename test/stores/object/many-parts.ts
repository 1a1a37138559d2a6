/** The upload of a file with more parts than one join takes: over real services in `system`, in memory in `fast`. */
import { expect } from 'vitest'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { ObjectStore } from '../../../lib/stores/object/object-store.ts'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { body, listed, loaded, newSession } from '../../support/store.ts'

export const MiB = 2 ** 20
/** With so few sources per join a small file has as many parts as one of terabytes has for a service. */
export const maxSources = 10

export const storeOn = (space: ObjectService, part: number): Store =>
  new ObjectStore({
    service: space,
    locker: undefined,
    names: memoryLocker(),
    part,
    memory: 64 * MiB,
    longest: 1024,
  })

/** The objects of the service as they are seen without the store. */
export interface Objects {
  keys(): Promise<string[]>
  bytesOf(key: string): Promise<Buffer | undefined>
}

/**
 * Uploads a file of 21 parts while every second join fails, publishes it, and removes its session.
 * @param space one whose joins take `maxSources` sources
 * @param part size of a part in bytes
 */
export async function uploadManyParts(space: ObjectService, part: number, objects: Objects): Promise<void> {
  expect(space.maxSources).toBe(maxSources)
  const file = noise(20 * part + 12_345)
  const session = newSession({ maxSize: 2 ** 40 })
  let joins = 0
  const failing = storeOn(
    {
      ...space,
      async compose(sources, key, options) {
        joins += 1
        if (joins % 2 === 0) throw new Error('connection lost')
        return space.compose(sources, key, options)
      },
    },
    part,
  )
  await failing.create(session)
  const size = Math.ceil(2.7 * part)
  let failures = 0
  for (let received = 0; received < file.length; ) {
    const fragment = body(file.subarray(received, received + size))
    const options = { total: file.length, durable: true }
    await failing.append(await loaded(failing, session.id), fragment, options).catch(() => {
      failures += 1
    })
    const after = await loaded(failing, session.id)
    expect(after.state).toBe('receiving')
    expect(after.received).toBe(Math.min(received + size, file.length))
    received = after.received
  }
  expect(failures).toBeGreaterThan(0)
  const store = storeOn(space, part)
  await store.append(await loaded(store, session.id), body(), { total: file.length, durable: true })
  const kinds = (await objects.keys()).map((key) => key.replace(/^.*\/|-.*$/g, ''))
  expect(kinds.filter((kind) => kind === 'group').length).toBe(6)
  expect(kinds.filter((kind) => kind === 'part').length).toBe(2)
  const complete = await loaded(store, session.id)
  const chunks: Buffer[] = []
  for await (const chunk of store.read(complete)) chunks.push(chunk)
  expect(Buffer.concat(chunks).equals(file)).toBe(true)
  await store.publish(complete)
  expect((await objects.bytesOf('a.bin'))?.equals(file)).toBe(true)
  await store.remove(await loaded(store, session.id))
  expect(await listed(store)).toEqual([])
  expect(await objects.keys()).toEqual(['a.bin'])
}
