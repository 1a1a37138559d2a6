/**
 * Uploads a file with more parts than one compose call accepts: over real services in `system`, in memory in
 * `fast`.
 */
import { expect } from 'vitest'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import { noise } from '../../support/bytes.ts'
import { body, listed, loaded, newSession } from '../../support/store.ts'
import { readAll, storeOn } from './fixture.ts'

/**
 * With so few sources per compose call a small file needs groups, as a file of terabytes does with a real
 * service.
 */
export const maxSources = 10

/** The objects of the service, read without the store. */
export interface Objects {
  keys(): Promise<string[]>
  bytesOf(key: string): Promise<Buffer | undefined>
}

/**
 * Uploads a file of 21 parts while every second compose call fails, publishes it, and removes its session.
 * @param service one whose compose calls accept `maxSources` sources
 * @param partSize bytes
 */
export async function uploadManyParts(
  service: ObjectService,
  partSize: number,
  objects: Objects,
): Promise<void> {
  expect(service.maxSources).toBe(maxSources)
  const file = noise(20 * partSize + 12_345)
  const session = newSession({ maxSize: 2 ** 40 })
  let calls = 0
  const failing = storeOn(
    {
      ...service,
      async compose(sources, key, options) {
        calls += 1
        if (calls % 2 === 0) throw new Error('connection lost')
        return service.compose(sources, key, options)
      },
    },
    partSize,
  )
  await failing.create(session)
  const size = Math.ceil(2.7 * partSize)
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
  const store = storeOn(service, partSize)
  await store.append(await loaded(store, session.id), body(), { total: file.length, durable: true })
  const kinds = (await objects.keys()).map((key) => key.replace(/^.*\/|-.*$/g, ''))
  expect(kinds.filter((kind) => kind === 'group').length).toBe(6)
  expect(kinds.filter((kind) => kind === 'part').length).toBe(2)
  const complete = await loaded(store, session.id)
  expect((await readAll(store, complete)).equals(file)).toBe(true)
  await store.publish(complete)
  expect((await objects.bytesOf('a.bin'))?.equals(file)).toBe(true)
  await store.remove(await loaded(store, session.id))
  expect(await listed(store)).toEqual([])
  expect(await objects.keys()).toEqual(['a.bin'])
}
