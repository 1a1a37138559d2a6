import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received, TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'

it('takes a file in three fragments and publishes it whole', async () => {
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
