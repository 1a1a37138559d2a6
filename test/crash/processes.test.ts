import { fork } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { nodeFileSystem } from '../../lib/stores/file-system.ts'
import { noise } from '../support/bytes.ts'
import { type Answer, hresult, received, send, TestClient } from '../support/client.ts'
import { withResolvers } from '../support/promise.ts'
import { perform } from './perform.ts'
import {
  apart,
  fragmentApart,
  newClient,
  newPlace,
  type Place,
  push,
  type Seam,
  server,
  statuses,
  trickle,
} from './setting.ts'
import { Victim } from './victim.ts'

const file = noise(300_000)
const wrong = noise(300_000, 2)
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))
const kills = Math.ceil(Number(process.env.CRASH_KILLS ?? 40) / 2)

/** The same session, over another server. */
function over({ url }: { readonly url: URL }, client: TestClient): TestClient {
  const same = new TestClient(new URL(client.url.pathname, url))
  same.sessionId = client.sessionId
  return same
}

it(
  `two servers on one directory, ${kills} kills, clients hop between them (CRASH_SEED=${seed})`,
  async () => {
    const counts = await perform(seed, kills, 2)
    if (process.env.CRASH_KILLS) console.info(`CRASH_SEED=${seed}`, counts)
    expect(counts.kills).toBeGreaterThanOrEqual(kills)
  },
  30_000 + kills * 1000,
)

it('node:cluster, a connection for each packet, workers killed meanwhile', async () => {
  const place = await newPlace()
  const program = fileURLToPath(new URL('cluster-program.mjs', import.meta.url))
  const primary = fork(program, [place.directory])
  const pids: number[] = []
  const bothUp = withResolvers<void>()
  let port = 0
  primary.on('message', (message: { port: number; pid: number }) => {
    port = message.port
    if (pids.push(message.pid) === 2) bothUp.resolve()
  })
  onTestFinished(() => {
    primary.disconnect()
    for (const pid of pids) killIfThere(pid)
  })
  await bothUp.promise
  let answers = 0
  let kills = 0
  const upload = async (number: number): Promise<void> => {
    const bytes = noise(50_000 + 40_000 * number, number + 10)
    const client = new TestClient(new URL(`http://127.0.0.1:${port}/${number}.bin`))
    const create = () =>
      send(client.url, 'Create-Session', {
        headers: { 'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}' },
      })
    client.sessionId = String((await persist(create)).headers['bits-session-id'])
    for (let at = 0; at < bytes.length; ) {
      const body = bytes.subarray(at, at + 2500)
      const answer = await persist(() => fragmentApart(client, at, body, bytes.length))
      expect(answer.status).toBe(200)
      expect(received(answer)).toBe(at + body.length)
      at = received(answer)
      answers += 1
      // Never the last one: with it the primary would give up the port.
      if (answers % 8 === 0 && pids.length > 1 && killIfThere(pids.shift())) kills += 1
    }
    const closed = await persist(() => apart(client, 'Close-Session'))
    expect([undefined, '0x8020001F']).toContain(hresult(closed))
    expect((await place.published(`${number}.bin`)).equals(bytes)).toBe(true)
  }
  await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(upload))
  expect(kills).toBeGreaterThan(1)
  // A Create-Session whose Ack was lost leaves a session that nobody knows.
  expect((await place.leftovers()).filter((name) => !name.endsWith('.json'))).toEqual([])
  expect(await place.names()).toHaveLength(8)
})

/** A packet is sent until it is answered: its server may be killed before. */
async function persist(packet: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await packet().catch(() => undefined)
    if (answer) return answer
    await new Promise(setImmediate)
  }
}

function killIfThere(pid: number | undefined): boolean {
  if (pid === undefined) return false
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}

describe('a session known to two processes', () => {
  const twoServers = async (place: Place) =>
    [await Victim.start(place.directory), await Victim.start(place.directory)] as const

  it('a retry at the other one while the first copy trickles', async () => {
    const place = await newPlace()
    const [a, b] = await twoServers(place)
    const client = await newClient(a.url, 'a.bin')
    const { outgoing, answer } = trickle(client, 0, file.length, file.length)
    await push(outgoing, file.subarray(0, 100_000), place.part(client), 100_000)
    const retry = await over(b, client).fragment(0, file, file.length)
    expect([retry.status, received(retry)]).toEqual([200, file.length])
    // The client gave up on it, but its bytes may be on their way still: the same ones.
    outgoing.end(file.subarray(100_000))
    await answer
    expect((await place.published('a.bin')).equals(file)).toBe(true)
    expect((await over(b, client).close()).status).toBe(200)
    expect([await place.names(), await place.leftovers()]).toEqual([['a.bin'], []])
  })

  it.each(['Cancel-Session', 'Close-Session'] as const)(
    '%s at the other one during a fragment',
    async (end) => {
      const place = await newPlace()
      const [a, b] = await twoServers(place)
      const client = await newClient(a.url, 'a.bin')
      const { outgoing, answer } = trickle(client, 0, file.length, file.length)
      await push(outgoing, file.subarray(0, 100_000), place.part(client), 100_000)
      expect((await apart(client, end, over(b, client).url)).status).toBe(200)
      outgoing.end(file.subarray(100_000))
      // Not a success: there is no file.
      expect((await answer).status).not.toBe(200)
      expect([await place.names(), await place.leftovers()]).toEqual([[], []])
    },
  )

  it('the last fragment at both at once: both are answered, the file is there once', async () => {
    const place = await newPlace()
    const [a, b] = await twoServers(place)
    for (let round = 0; round < 20; round += 1) {
      const client = await newClient(a.url, `${round}.bin`)
      const { url } = over(b, client)
      const last = (at: URL) => fragmentApart(client, 0, file, file.length, at)
      const answers = await Promise.all([last(client.url), last(url)])
      // One does it; the other finds it done, or was asked to let go.
      expect(statuses(answers)[0]).toBe(200)
      expect([200, 416]).toContain(statuses(answers)[1])
      expect((await place.published(`${round}.bin`)).equals(file)).toBe(true)
      expect((await apart(client, 'Close-Session', url)).status).toBe(200)
    }
    expect(await place.leftovers()).toEqual([])
  })

  // The part is, by link, the very file that was published: who still held it open could write into that.
  it('a fragment that still trickles at the other one cannot change what was published', async () => {
    const place = await newPlace()
    const [a, b] = await twoServers(place)
    const client = await newClient(a.url, 'a.bin')
    const { outgoing, answer } = trickle(client, 0, file.length, file.length)
    await push(outgoing, file.subarray(0, 1000), place.part(client), 1000)
    const retry = await over(b, client).fragment(0, file, file.length)
    expect([retry.status, received(retry)]).toEqual([200, file.length])
    outgoing.end(wrong.subarray(1000))
    await answer.catch(() => {})
    expect((await place.published('a.bin')).equals(file)).toBe(true)
  })

  // Processes that no lock holds apart (a store with a file system of its own has none; nor have containers that share
  // a volume, but no network namespace), at the worst moment of all.
  // The other one's publication of the same session must not be taken for somebody else's file: 403 ends a client's job.
  it('without a lock, the last fragment at both at once: nobody is told that the name is taken', async () => {
    const place = await newPlace()
    const linked = withResolvers<void>()
    const looked = withResolvers<void>()
    const first: Seam = {
      async link(...args) {
        await looked.promise
        await nodeFileSystem.link(...args)
        linked.resolve()
      },
    }
    const second: Seam = {
      async link(...args) {
        looked.resolve()
        await linked.promise
        await nodeFileSystem.link(...args)
      },
    }
    const [a, b] = [await server(place, first), await server(place, second)]
    const client = await newClient(a.url, 'a.bin')
    expect((await client.fragment(0, file.subarray(0, -1), file.length)).status).toBe(200)
    const last = (url: URL) => fragmentApart(client, file.length - 1, file.subarray(-1), file.length, url)
    const earlier = last(client.url)
    const retry = await last(new URL('a.bin', b.url))
    expect((await earlier).status).toBe(200)
    expect(retry.status).not.toBe(403)
  })

  it('without a lock, a retry, while the other one publishes, is not taken for a new file', async () => {
    const place = await newPlace()
    const publishing = withResolvers<void>()
    const read = withResolvers<void>()
    const published = withResolvers<void>()
    const first: Seam = {
      async link(...args) {
        publishing.resolve()
        await read.promise
        await nodeFileSystem.link(...args)
      },
    }
    let isLate = false
    const second: Seam = {
      async readFile(...args) {
        const text = await nodeFileSystem.readFile(...args)
        read.resolve()
        return text
      },
      async stat(path) {
        if (path.endsWith('.part') && !isLate) await published.promise
        isLate = true
        return nodeFileSystem.stat(path)
      },
    }
    const [a, b] = [await server(place, first), await server(place, second)]
    const client = await newClient(a.url, 'a.bin')
    const earlier = client.fragment(0, file, file.length)
    await publishing.promise
    const retry = fragmentApart(client, 0, file, file.length, new URL('a.bin', b.url))
    expect((await earlier).status).toBe(200)
    published.resolve()
    const answer = await retry
    expect([answer.status, received(answer)]).toEqual([200, file.length])
  })
})
