import { describe, expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received, TestClient } from '../support/client.ts'
import { apart, fragmentApart, newClient, newPlace, type Place, push, statuses, trickle } from './setting.ts'
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
})
