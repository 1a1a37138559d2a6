import { describe, expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received, TestClient } from '../support/client.ts'
import {
  beginFragment,
  newClient,
  sendAlone,
  sendFragmentAlone,
  statuses,
  UploadDirectory,
  writeUntilStored,
} from './fixture.ts'
import { RestartingServer } from './restarting-server.ts'

const file = noise(300_000)
const wrong = noise(300_000, 2)

/** A client of the same session at another server. */
function at({ url }: { readonly url: URL }, client: TestClient): TestClient {
  const same = new TestClient(new URL(client.url.pathname, url))
  same.sessionId = client.sessionId
  return same
}

describe('Session used by two processes', () => {
  const twoServers = async (directory: UploadDirectory) =>
    [await RestartingServer.start(directory.path), await RestartingServer.start(directory.path)] as const

  it('accepts a retry in the other process while the first copy still arrives', async () => {
    const directory = await UploadDirectory.create()
    const [a, b] = await twoServers(directory)
    const client = await newClient(a.url, 'a.bin')
    const { outgoing, answer } = beginFragment(client, 0, file.length, file.length)
    await writeUntilStored(outgoing, file.subarray(0, 100_000), directory.part(client), 100_000)
    const retry = await at(b, client).fragment(0, file, file.length)
    expect([retry.status, received(retry)]).toEqual([200, file.length])
    // The client gave up the first copy, but its bytes, the same ones, may still arrive.
    outgoing.end(file.subarray(100_000))
    await answer
    expect((await directory.published('a.bin')).equals(file)).toBe(true)
    expect((await at(b, client).close()).status).toBe(200)
    expect([await directory.publishedNames(), await directory.sessionFiles()]).toEqual([['a.bin'], []])
  })

  it.each(['Cancel-Session', 'Close-Session'] as const)(
    'is deleted by %s in the other process during a fragment',
    async (end) => {
      const directory = await UploadDirectory.create()
      const [a, b] = await twoServers(directory)
      const client = await newClient(a.url, 'a.bin')
      const { outgoing, answer } = beginFragment(client, 0, file.length, file.length)
      await writeUntilStored(outgoing, file.subarray(0, 100_000), directory.part(client), 100_000)
      expect((await sendAlone(client, end, at(b, client).url)).status).toBe(200)
      outgoing.end(file.subarray(100_000))
      // Must not report success, because there is no file.
      expect((await answer).status).not.toBe(200)
      expect([await directory.publishedNames(), await directory.sessionFiles()]).toEqual([[], []])
    },
  )

  it('publishes the file when both processes get the last fragment at once, and answers both', async () => {
    const directory = await UploadDirectory.create()
    const [a, b] = await twoServers(directory)
    for (let round = 0; round < 20; round += 1) {
      const client = await newClient(a.url, `${round}.bin`)
      const { url } = at(b, client)
      const last = (target: URL) => sendFragmentAlone(client, 0, file, file.length, target)
      const answers = await Promise.all([last(client.url), last(url)])
      // One process publishes. The other finds the file published, or was asked to release the session.
      expect(statuses(answers)[0]).toBe(200)
      expect([200, 416]).toContain(statuses(answers)[1])
      expect((await directory.published(`${round}.bin`)).equals(file)).toBe(true)
      expect((await sendAlone(client, 'Close-Session', url)).status).toBe(200)
    }
    expect(await directory.sessionFiles()).toEqual([])
  })

  // The published file is a hard link to the data file: a process that still has it open could write into it.
  it('does not change the published file by a fragment that still arrives in the other process', async () => {
    const directory = await UploadDirectory.create()
    const [a, b] = await twoServers(directory)
    const client = await newClient(a.url, 'a.bin')
    const { outgoing, answer } = beginFragment(client, 0, file.length, file.length)
    await writeUntilStored(outgoing, file.subarray(0, 1000), directory.part(client), 1000)
    const retry = await at(b, client).fragment(0, file, file.length)
    expect([retry.status, received(retry)]).toEqual([200, file.length])
    outgoing.end(wrong.subarray(1000))
    await answer.catch(() => {})
    expect((await directory.published('a.bin')).equals(file)).toBe(true)
  })
})
