import { expect, it } from 'vitest'
import { type BitsUploadOptions, memoryStore } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'

it.each<[string, Omit<BitsUploadOptions, 'store'>, boolean]>([
  ['nobody is asked', {}, true],
  ['the application is asked', { onUpload: () => undefined }, false],
  ['the client has to close it first', { commitOn: 'close' }, false],
])('where %s, the store hears whether an upload is published at once', async (_, options, publishes) => {
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
