/** The possible outcomes of an upload, one function for each. */

import { noise } from '../support/bytes.ts'
import { answerTo, begin, send, TestClient } from '../support/client.ts'

const file = noise(100_000)

type Outcome = (url: URL) => Promise<void>

async function session(url: URL): Promise<TestClient> {
  const client = new TestClient(url, { User: `user ${Math.floor(Math.random() * 1e9)}` })
  const { status } = await client.create()
  if (status !== 200) throw new Error(`Create-Session: ${status}`)
  return client
}

function expectStatus(status: number, expected: number): void {
  if (status !== expected) throw new Error(`The status was ${status}, not ${expected}`)
}

/** Begins a fragment and sends the first bytes of its body. */
async function beginFragment(client: TestClient) {
  const outgoing = begin(client.url, 'Fragment', { headers: client.range(0, file.length, file.length) })
  const answer = answerTo(outgoing).catch((error: Error) => error)
  await new Promise<void>((resolve) => outgoing.write(file.subarray(0, 60_000), () => resolve()))
  return { outgoing, answer }
}

const finished: Outcome = async (url) => {
  const client = await session(url)
  expectStatus((await client.fragment(0, file.subarray(0, 50_000), file.length)).status, 200)
  expectStatus((await client.fragment(50_000, file.subarray(50_000), file.length)).status, 200)
  expectStatus((await client.close()).status, 200)
  client.agent.destroy()
}

const cancelled: Outcome = async (url) => {
  const client = await session(url)
  expectStatus((await client.fragment(0, file.subarray(0, 50_000), file.length)).status, 200)
  expectStatus((await client.cancel()).status, 200)
  client.agent.destroy()
}

/** The client closes the connection during a fragment and does not return. A sweep removes the session. */
const broken: Outcome = async (url) => {
  const client = await session(url)
  const { outgoing, answer } = await beginFragment(client)
  outgoing.destroy()
  await answer
  client.agent.destroy()
}

/** The client stops sending during a fragment, until the server's timeout. */
const silent: Outcome = async (url) => {
  const client = await session(url)
  const { outgoing, answer } = await beginFragment(client)
  const answered = await answer
  if (!(answered instanceof Error)) expectStatus(answered.status, 408)
  outgoing.destroy()
  client.agent.destroy()
}

/** A second packet of the session interrupts a fragment that waits for bytes. */
const interrupted: Outcome = async (url) => {
  const client = await session(url)
  const { outgoing, answer } = await beginFragment(client)
  expectStatus((await client.cancel()).status, 200)
  outgoing.destroy()
  await answer
  client.agent.destroy()
}

/** The server answers each packet before it has read the body. */
const refused: Outcome = async (url) => {
  const client = new TestClient(url, { User: 'unknown' })
  client.sessionId = '{00000000-0000-4000-8000-000000000000}'
  expectStatus((await client.fragment(0, file, file.length)).status, 500)
  expectStatus((await client.send('Ping', { body: file })).status, 400)
  expectStatus((await client.send('Fragment', { body: file })).status, 400)
  expectStatus((await client.send('Foo')).status, 400)
  expectStatus((await send(new URL('/a/../b%2f', url), 'Create-Session')).status, 400)
  expectStatus((await send(url, undefined, { method: 'GET' })).status, 404)
  client.agent.destroy()
}

/** The client does not return after its first fragment. */
const expired: Outcome = async (url) => {
  const client = await session(url)
  expectStatus((await client.fragment(0, file.subarray(0, 1000), file.length)).status, 200)
  client.agent.destroy()
}

export const outcomes: readonly Outcome[] = [
  finished,
  cancelled,
  broken,
  refused,
  expired,
  finished,
  interrupted,
  silent,
]
