import { expect, it } from 'vitest'
import { type BitsUploadOptions, memoryStore } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'

it.each<[string, Omit<BitsUploadOptions, 'store'>, boolean]>([
  ['gets publishes: true for the last fragment without onUpload', {}, true],
  ['gets publishes: false for the last fragment with onUpload', { onUpload: () => undefined }, false],
  ["gets publishes: false for the last fragment with commitOn 'close'", { commitOn: 'close' }, false],
])('store.append: %s', async (_, options, publishes) => {
  const store = memoryStore()
  const heard: unknown[] = []
  const append = store.append.bind(store)
  store.append = (...args) => {
    heard.push(args[2].publishes)
    return append(...args)
  }
  const { url } = await uploadServer({ store, ...options })
  const client = new TestClient(new URL('a.bin', url))
  await client.create()
  await client.fragment(0, Buffer.from('ab'), 4)
  await client.fragment(2, Buffer.from('cd'), 4)
  expect(heard).toEqual([false, publishes])
})
