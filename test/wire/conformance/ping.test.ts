import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { noise } from '../../support/bytes.ts'
import { send, TestClient } from '../../support/client.ts'
import { E_INVALIDARG, expectAck } from '../acks.ts'
import { sessionFiles, timesOf } from '../disk.ts'
import { dial } from '../raw-connection.ts'
import { session, start } from '../setting.ts'

describe('Ping', () => {
  it('19: returns a 200 Ack without a session id', async () => {
    const { url, directory } = await start()
    expectAck(await new TestClient(new URL('a.bin', url)).ping(), 200, { sessionId: null, received: null })
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('20: returns 200 with an unknown session id', async () => {
    const { url } = await start()
    for (const id of ['{11111111-2222-3333-4444-555555555555}', 'not even a GUID']) {
      const answer = await send(new URL('a.bin', url), 'Ping', { headers: { 'BITS-Session-Id': id } })
      expectAck(answer, 200, { received: null })
    }
  })

  it('21: returns 400 0x80070057 with Content-Length 5 and a body', async () => {
    const { url } = await start()
    const connection = await dial(url)
    const ping = (length: number) =>
      connection.exchange(
        `BITS_POST /upload/a.bin HTTP/1.1
        Host: files.example
        BITS-Packet-Type: Ping
        Content-Length: ${length}`,
        Buffer.from('hello').subarray(0, length),
      )
    expectAck(await ping(5), 400, { error: E_INVALIDARG })
    // The body was drained, so the connection is usable.
    expectAck(await ping(0), 200)
    expect(await connection.end()).toBe('')
  })

  it('22: returns 200 on the host named by BITS-Host-Id', async () => {
    const { client } = await session({ hostId: 'node3.example' })
    const created = await client.create()
    const Host = String(created.headers['bits-host-id'])
    expect(Host).toBe('node3.example')
    expectAck(await client.send('Ping', { headers: { Host } }), 200)
  })

  it('23: returns 200 between the last fragment and Close-Session, and changes nothing', async () => {
    const { client, id, directory } = await session({ commitOn: 'close' })
    const file = noise(300)
    await client.fragment(0, file, 300)
    const files = await sessionFiles(directory)
    const times = await timesOf(directory, id)

    expectAck(await client.ping(), 200, { received: null })
    expectAck(await client.send('Ping', { headers: { 'BITS-Session-Id': id } }), 200)
    expect(await sessionFiles(directory)).toEqual(files)
    expect(await timesOf(directory, id)).toEqual(times)
    expectAck(await client.close(), 200, { sessionId: id })
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })
})
