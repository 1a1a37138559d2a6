import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { memoryStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received, send, TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'

it('Upload: publishes a file that is sent in three fragments', async () => {
  const { url, directory } = await uploadServer()
  const file = noise(12_000)
  const client = new TestClient(new URL('a.bin', url))
  expect((await client.create()).status).toBe(200)
  for (const first of [0, 5120, 10_240]) {
    const piece = file.subarray(first, first + 5120)
    expect(received(await client.fragment(first, piece, file.length))).toBe(first + piece.length)
  }
  expect((await client.close()).status).toBe(200)
  expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
})

it.each(['x', '../../a.bin', '{../../a.bin}', '{11111111-2222-3333-4444-55555555555}'])(
  'Session id %j: returns 500 0x8020001F with the same id, without calling store.load',
  async (id) => {
    const loadedIds: string[] = []
    const store = memoryStore()
    const load: typeof store.load = async (name) => {
      loadedIds.push(name)
      return store.load(name)
    }
    const { url } = await uploadServer({ store: { ...store, load } })
    const answer = await send(new URL('a.bin', url), 'Close-Session', { headers: { 'BITS-Session-Id': id } })
    expect([answer.status, hresult(answer)]).toEqual([500, '0x8020001F'])
    expect(answer.headers['bits-session-id']).toBe(id)
    expect(loadedIds).toEqual([])
  },
)
