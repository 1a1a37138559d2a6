import { Agent } from 'node:https'
import { expect } from 'vitest'
import { received, TestClient } from '../support/client.ts'

/** A client that accepts any certificate, such as a self-signed one. */
export class TlsClient extends TestClient {
  override readonly agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false })
}

/** Uploads a file in three fragments, each of which must succeed. */
export async function uploadFile(client: TestClient, file: Uint8Array): Promise<void> {
  const step = Math.ceil(file.length / 3)
  expect((await client.create()).status).toBe(200)
  for (let first = 0; first < file.length; first += step) {
    const answer = await client.fragment(first, file.subarray(first, first + step), file.length)
    expect([answer.status, received(answer)]).toEqual([200, Math.min(first + step, file.length)])
  }
  expect((await client.close()).status).toBe(200)
}
