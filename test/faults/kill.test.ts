import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, TestClient } from '../support/client.ts'
import { sessionFileNames, temporaryDirectory } from '../support/directory.ts'
import { startServer } from '../support/process.ts'

const file = noise(4_000_000)

it('Upload: completes with the same file after three SIGKILLs during a fragment', async () => {
  const directory = await temporaryDirectory()
  let server = await startServer(directory)
  const { port } = server.url
  let client = new TestClient(new URL('a.bin', server.url))
  await client.create()
  let acked = 0
  for (let kills = 1; kills <= 3; kills += 1) {
    acked = received(await client.fragment(acked, file.subarray(acked, acked + 500_000), file.length))
    const outgoing = begin(client.url, 'Fragment', { headers: client.range(acked, 500_000, file.length) })
    const broken = answerTo(outgoing).catch((error: Error) => error)
    outgoing.write(file.subarray(acked, acked + 300_000))
    const part = join(directory, '.bits-sessions', `${client.sessionId}.part`)
    while ((await stat(part)).size === acked) await new Promise(setImmediate)
    await server.kill()
    expect(await broken).toBeInstanceOf(Error)

    server = await startServer(directory, port)
    const { sessionId } = client
    client.agent.destroy()
    client = new TestClient(client.url)
    client.sessionId = sessionId
    // A fragment after a gap: the answer contains the offset.
    const answer = await client.fragment(file.length - 1, file.subarray(-1), file.length)
    expect(answer.status).toBe(416)
    expect(received(answer)).toBeGreaterThan(acked)
    expect(received(answer)).toBe((await stat(part)).size)
    // The client resumes at the offset of its last Ack, not at the one that the server holds.
  }
  expect((await client.fragment(acked, file.subarray(acked), file.length)).status).toBe(200)
  expect((await client.close()).status).toBe(200)
  expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
  expect(await sessionFileNames(join(directory, '.bits-sessions'))).toEqual([])
})
