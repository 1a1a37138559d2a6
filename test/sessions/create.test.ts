import { expect, it } from 'vitest'
import { memoryStore } from '../../lib/index.ts'
import { hresult, TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'

const hello = Buffer.from('hello')

it('onCreate: sets name, maxSize, overwrite and metadata of the session, and keeps its owner', async () => {
  const store = memoryStore()
  const tags: unknown[] = []
  const { upload, url } = await uploadServer({
    store,
    maxSize: 100,
    authorize: () => 'ann',
    onCreate: ({ id, name, path, owner }) => {
      expect({ name, path, owner }).toEqual({ name: 'a.bin', path: '/upload/a.bin', owner: 'ann' })
      return { name: `${owner}-${name}`, maxSize: '5b', overwrite: true, metadata: { id } }
    },
    onUpload: ({ metadata, size }) => {
      tags.push({ metadata, size })
    },
  })
  upload.events.on('uploaded', ({ id, name, owner, metadata }) => tags.push({ id, name, owner, metadata }))
  for (let i = 0; i < 2; i += 1) {
    const client = new TestClient(new URL('a.bin', url))
    const { headers } = await client.create()
    const id = headers['bits-session-id']
    const tooLarge = await client.fragment(0, hello, 6)
    expect([tooLarge.status, hresult(tooLarge)]).toEqual([500, '0x80200020'])
    expect((await client.fragment(0, hello, 5)).status).toBe(200)
    expect(tags.splice(0)).toEqual([
      { metadata: { id }, size: 5 },
      { id, name: 'ann-a.bin', owner: 'ann', metadata: { id } },
    ])
  }
  expect([...store.files.keys()]).toEqual(['ann-a.bin'])
})

it('onCreate: cannot raise maxSize above the maxSize of the middleware', async () => {
  const { url } = await uploadServer({ maxSize: 4, onCreate: () => ({ maxSize: '1gb' }) })
  const client = new TestClient(new URL('a.bin', url))
  await client.create()
  expect((await client.fragment(0, hello, 5)).status).toBe(500)
})

it('onUpload: reads the bytes before they are published, and rejects the upload by throwing', async () => {
  const store = memoryStore()
  const { url } = await uploadServer({
    store,
    async onUpload({ read }) {
      for await (const chunk of read()) if (String(chunk).includes('hell')) throw new Error('infected')
    },
  })
  const client = new TestClient(new URL('a.bin', url))
  await client.create()
  const answer = await client.fragment(0, hello, 5)
  expect([answer.status, answer.headers['bits-error-context']]).toEqual([500, '0x7'])
  expect(store.files.size).toBe(0)
})
