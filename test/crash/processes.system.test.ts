import { describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../../lib/stores/file-system.ts'
import { noise } from '../support/bytes.ts'
import { received, TestClient } from '../support/client.ts'
import { withResolvers } from '../support/promise.ts'
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

/** The same session, over another server. */
function over({ url }: { readonly url: URL }, client: TestClient): TestClient {
  const same = new TestClient(new URL(client.url.pathname, url))
  same.sessionId = client.sessionId
  return same
}

describe('Session used by two processes', () => {
  const twoServers = async (place: Place) =>
    [await Victim.start(place.directory), await Victim.start(place.directory)] as const

  it('accepts a retry in the other process while the first copy still arrives', async () => {
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
    'is deleted by %s in the other process during a fragment',
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

  it('publishes the file when both processes get the last fragment at once, and answers both', async () => {
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

  // The published file is a hard link to the data file: a process that still has it open could write into it.
  it('does not change the published file by a fragment that still arrives in the other process', async () => {
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

  // Processes without a common lock (a store with a custom file system has none; nor have containers that
  // share a volume but no network namespace), at the most unfavourable moment. The publication of the same
  // session by the other process must not be taken for the file of another upload, because 403 ends the job
  // of a client.
  it('never returns 403 without a lock when both processes get the last fragment at once', async () => {
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

  it('returns 200 to a retry without a lock while the other process publishes', async () => {
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
