import { unlinkSync, utimesSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { bitsUpload, fileStore } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received } from '../support/client.ts'
import { withResolvers } from '../support/promise.ts'
import { serve } from '../support/server.ts'
import {
  beginFragment,
  type FileSystemOverrides,
  newClient,
  sendAlone,
  sendFragmentAlone,
  startServer,
  statuses,
  UploadDirectory,
  waitUntil,
  writeUntilStored,
} from './fixture.ts'

const file = noise(300_000)
const other = noise(200_000, 2)
const rounds = Array.from({ length: 20 }, (_, round) => round)
const ends = ['Cancel-Session', 'Close-Session'] as const
const longAgo = new Date(0)

describe('Session with concurrent packets', () => {
  it('answers two identical fragments sent at once, and publishes the file once', async () => {
    const directory = await UploadDirectory.create()
    const { upload, url } = await startServer(directory)
    const uploaded: string[] = []
    upload.events.on('uploaded', ({ id }) => uploaded.push(id))
    for (const round of rounds) {
      const client = await newClient(url, `${round}.bin`)
      const half = 1 + round * 10_000
      for (const [first, end] of [
        [0, half],
        [half, file.length],
      ] as const) {
        const send = () => sendFragmentAlone(client, first, file.subarray(first, end), file.length)
        const answers = await Promise.all([send(), send()])
        // One fragment is stored. The other finds its bytes stored, or was asked to release the session.
        expect(statuses(answers)[0]).toBe(200)
        expect([200, 416]).toContain(statuses(answers)[1])
        expect(Math.max(...answers.map(received))).toBe(end)
      }
      expect((await directory.published(`${round}.bin`)).equals(file)).toBe(true)
      expect(uploaded.filter((id) => id === client.sessionId)).toHaveLength(1)
      expect((await client.close()).status).toBe(200)
    }
    expect(await directory.sessionFiles()).toEqual([])
  })

  it('returns 200 to the newest copy of a fragment, and 416 with an offset to each older copy', async () => {
    const directory = await UploadDirectory.create()
    const { url } = await startServer(directory)
    const client = await newClient(url, 'a.bin')
    const old: ReturnType<typeof beginFragment>[] = []
    for (const length of [1000, 2000, 3000, 4000, 5000]) {
      const fragment = beginFragment(client, 0, file.length, file.length)
      // Longer each time, so that the length of the part file shows whose bytes are written.
      await writeUntilStored(fragment.outgoing, file.subarray(0, length), directory.part(client), length)
      old.push(fragment)
    }
    expect((await client.fragment(0, file, file.length)).status).toBe(200)
    const answers = await Promise.all(old.map(({ answer }) => answer))
    expect(answers.map(({ status }) => status)).toEqual([416, 416, 416, 416, 416])
    expect(answers.map(received)).toEqual([1000, 2000, 3000, 4000, 5000])
    // Later bytes of the old copies have no effect.
    for (const { outgoing } of old) outgoing.on('error', () => {}).write(other)
    expect((await client.close()).status).toBe(200)
    expect((await directory.published('a.bin')).equals(file)).toBe(true)
    expect(await directory.sessionFiles()).toEqual([])
    for (const { outgoing } of old) outgoing.destroy()
  })

  it.each(ends)('returns 200 to %s and 416 to a running fragment, and leaves no file', async (end) => {
    const directory = await UploadDirectory.create()
    const { url } = await startServer(directory)
    const client = await newClient(url, 'a.bin')
    const { outgoing, answer } = beginFragment(client, 0, file.length, file.length)
    await writeUntilStored(outgoing, file.subarray(0, 5000), directory.part(client), 5000)
    expect((await sendAlone(client, end)).status).toBe(200)
    expect((await answer).status).toBe(416)
    outgoing.on('error', () => {}).end(file.subarray(5000))
    expect(hresult(await client.fragment(0, file, file.length))).toBe('0x8020001F')
    expect([await directory.publishedNames(), await directory.sessionFiles()]).toEqual([[], []])
  })

  it.each(ends)(
    'publishes the whole file or none when %s and the last fragment are sent at once',
    async (end) => {
      const directory = await UploadDirectory.create()
      const { url } = await startServer(directory)
      for (const round of rounds) {
        const name = `${round}.bin`
        const client = await newClient(url, name)
        const fragment = sendFragmentAlone(client, 0, file, file.length)
        for (let turn = 0; turn < round; turn += 1) await new Promise(setImmediate)
        const [{ status }, ended] = await Promise.all([fragment, sendAlone(client, end)])
        expect(ended.status).toBe(200)
        const isThere = (await directory.publishedNames()).includes(name)
        if (status === 200) expect(isThere).toBe(true)
        if (isThere) expect((await directory.published(name)).equals(file)).toBe(true)
      }
      expect(await directory.sessionFiles()).toEqual([])
    },
  )

  // A fragment with all its bytes written may be asked to release the session before it sees the end of its
  // body. A client takes a 416 with all bytes held for success ([MC-BUP] 3.1.5.1.4) and closes the session.
  // Close-Session would then delete a file that was never published.
  it('publishes the file before an answer reports that all bytes are held', async () => {
    const directory = await UploadDirectory.create()
    const writing = withResolvers<void>()
    const release = withResolvers<void>()
    const fileSystem = {
      ...nodeFileSystem,
      async writev(...args: Parameters<typeof nodeFileSystem.writev>) {
        writing.resolve()
        await release.promise
        return nodeFileSystem.writev(...args)
      },
    }
    const upload = bitsUpload({ store: fileStore(directory.path, { fileSystem }) })
    const fragments: IncomingMessage[] = []
    const url = await serve((request, response) => {
      if (request.headers['bits-packet-type'] === 'Fragment') fragments.push(request)
      upload(request, response, () => {})
    })
    // The bytes after the first write just fill the write buffer and pause the body: its end is read only
    // with the next request for bytes.
    const whole = noise(1000 + 512 * 1024)
    const client = await newClient(url, 'a.bin')
    const { outgoing, answer } = beginFragment(client, 0, whole.length, whole.length)
    outgoing.write(whole.subarray(0, 1000))
    await writing.promise
    outgoing.end(whole.subarray(1000))
    await waitUntil(() => fragments[0]?.complete === true)
    // An older copy of the fragment that arrives late. Its connection breaks while it waits for the session.
    const late = beginFragment(client, 0, whole.length, whole.length)
    late.outgoing.write(whole.subarray(0, 1000))
    await waitUntil(() => fragments.length === 2)
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
    late.outgoing.destroy()
    await waitUntil(() => fragments[1]?.destroyed === true)
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate)
    release.resolve()
    if (received(await answer) < whole.length) await client.fragment(0, whole, whole.length)
    expect((await client.close()).status).toBe(200)
    expect(await directory.publishedNames()).toEqual(['a.bin'])
  })
})

// Processes without a common lock: a store with a custom file system has none, nor have containers that share
// a volume but no network namespace. Two servers in this process represent them.
describe('Session used by two processes without a lock', () => {
  // The store also tries a link in the session directory.
  const isDestination = (path: string): boolean => path.endsWith('a.bin')

  // The worst case. A process must not mistake the file that the other process publishes for the same session
  // for the file of another upload, because 403 ends the job of a client.
  it('never returns 403 when both processes get the last fragment at once', async () => {
    const directory = await UploadDirectory.create()
    const linked = withResolvers<void>()
    const secondLinks = withResolvers<void>()
    const first: FileSystemOverrides = {
      async link(path, newPath) {
        if (isDestination(newPath)) await secondLinks.promise
        await nodeFileSystem.link(path, newPath)
        if (isDestination(newPath)) linked.resolve()
      },
    }
    const second: FileSystemOverrides = {
      async link(path, newPath) {
        if (isDestination(newPath)) secondLinks.resolve()
        if (isDestination(newPath)) await linked.promise
        await nodeFileSystem.link(path, newPath)
      },
    }
    const [a, b] = [await startServer(directory, first), await startServer(directory, second)]
    const client = await newClient(a.url, 'a.bin')
    expect((await client.fragment(0, file.subarray(0, -1), file.length)).status).toBe(200)
    const last = (url: URL) => sendFragmentAlone(client, file.length - 1, file.subarray(-1), file.length, url)
    const earlier = last(client.url)
    const retry = await last(new URL('a.bin', b.url))
    expect((await earlier).status).toBe(200)
    expect(retry.status).not.toBe(403)
  })

  it('returns 200 to a retry while the other process publishes', async () => {
    const directory = await UploadDirectory.create()
    const publishing = withResolvers<void>()
    const read = withResolvers<void>()
    const published = withResolvers<void>()
    const first: FileSystemOverrides = {
      async link(path, newPath) {
        if (isDestination(newPath)) publishing.resolve()
        if (isDestination(newPath)) await read.promise
        await nodeFileSystem.link(path, newPath)
      },
    }
    let isLate = false
    const second: FileSystemOverrides = {
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
    const [a, b] = [await startServer(directory, first), await startServer(directory, second)]
    const client = await newClient(a.url, 'a.bin')
    const earlier = client.fragment(0, file, file.length)
    await publishing.promise
    const retry = sendFragmentAlone(client, 0, file, file.length, new URL('a.bin', b.url))
    expect((await earlier).status).toBe(200)
    published.resolve()
    const answer = await retry
    expect([answer.status, received(answer)]).toEqual([200, file.length])
  })
})

describe('Destination of two sessions', () => {
  it('gets the file of one without overwrite, and the other receives 403', async () => {
    const directory = await UploadDirectory.create()
    const { url } = await startServer(directory)
    for (const round of rounds) {
      const name = `${round}.bin`
      const clients = [await newClient(url, name), await newClient(url, name)] as const
      const files = [file, other] as const
      const answers = await Promise.all([
        clients[0].fragment(0, file, file.length),
        clients[1].fragment(0, other, other.length),
      ])
      expect(statuses(answers)).toEqual([200, 403])
      const winner = answers[0].status === 200 ? 0 : 1
      expect((await directory.published(name)).equals(files[winner])).toBe(true)
      // The client may retry before or after the other session is closed.
      expect((await clients[winner].close()).status).toBe(200)
      const loser = 1 - winner
      const [client, bytes] = loser === 0 ? [clients[0], file] : [clients[1], other]
      const again = await client.fragment(0, bytes, bytes.length)
      expect([again.status, hresult(again), received(again)]).toEqual([403, '0x80070005', bytes.length])
      expect((await client.cancel()).status).toBe(200)
      expect((await directory.published(name)).equals(files[winner])).toBe(true)
    }
    expect(await directory.sessionFiles()).toEqual([])
  })

  it('holds the last file with overwrite, and never a partial one', async () => {
    const directory = await UploadDirectory.create()
    const { url } = await startServer(directory, {}, { overwrite: true })
    const first = await newClient(url, 'a.bin')
    expect((await first.fragment(0, file, file.length)).status).toBe(200)
    let isUploading = true
    let reads = 0
    const reader = (async () => {
      for (; isUploading; reads += 1) {
        const bytes = await directory.published('a.bin')
        expect(bytes.equals(file) || bytes.equals(other)).toBe(true)
      }
    })()
    for (const _ of rounds) {
      const [one, two] = [await newClient(url, 'a.bin'), await newClient(url, 'a.bin')]
      const answers = await Promise.all([
        one.fragment(0, file, file.length),
        two.fragment(0, other, other.length),
      ])
      expect(statuses(answers)).toEqual([200, 200])
      const again = await newClient(url, 'a.bin')
      expect((await again.fragment(0, other, other.length)).status).toBe(200)
      // A repeated last fragment of a finished upload does not publish again.
      expect((await one.fragment(file.length - 1, file.subarray(-1), file.length)).status).toBe(200)
      expect((await directory.published('a.bin')).equals(other)).toBe(true)
      for (const client of [one, two, again]) expect((await client.close()).status).toBe(200)
    }
    isUploading = false
    await reader
    expect(reads).toBeGreaterThan(0)
    expect((await first.close()).status).toBe(200)
    expect(await directory.sessionFiles()).toEqual([])
  })
})

describe('Sweep', () => {
  it('keeps an expired session during a fragment, and removes it without one', async () => {
    const directory = await UploadDirectory.create()
    const { upload, url } = await startServer(directory, {}, { expireAfter: 60_000 })
    const client = await newClient(url, 'a.bin')
    await upload.sweep() // The sweep that Create-Session began.
    const { outgoing, answer } = beginFragment(client, 0, 200_000, file.length)
    await writeUntilStored(outgoing, file.subarray(0, 5000), directory.part(client), 5000)
    for (const path of [directory.part(client), directory.journal(client)]) utimesSync(path, longAgo, longAgo)
    expect(await upload.sweep()).toEqual({ expired: 0, open: 1 })
    outgoing.end(file.subarray(5000, 200_000))
    expect(received(await answer)).toBe(200_000)
    expect(await upload.sweep()).toEqual({ expired: 0, open: 1 })
    for (const path of [directory.part(client), directory.journal(client)]) utimesSync(path, longAgo, longAgo)
    expect(await upload.sweep()).toEqual({ expired: 1, open: 0 })
    expect(hresult(await client.fragment(200_000, file.subarray(200_000), file.length))).toBe('0x8020001F')
    expect(await directory.sessionFiles()).toEqual([])
  })

  it('does not affect uploads when it runs without pause', async () => {
    const directory = await UploadDirectory.create()
    const { upload, url } = await startServer(directory)
    let isUploading = true
    const sweeps = (async () => {
      while (isUploading) expect((await upload.sweep()).expired).toBe(0)
    })()
    sweeps.catch(() => {})
    await Promise.all(
      [0, 1, 2, 3].map(async (number) => {
        for (const round of rounds) {
          const client = await newClient(url, `${number}-${round}.bin`)
          if (round % 4 === 0) await client.fragment(0, file.subarray(0, 1000), file.length)
          else expect((await client.fragment(0, file, file.length)).status).toBe(200)
          expect((await client[round % 2 === 0 ? 'cancel' : 'close']()).status).toBe(200)
        }
      }),
    ).finally(() => {
      isUploading = false
    })
    await sweeps
    expect(await directory.publishedNames()).toHaveLength(60)
    expect(await directory.sessionFiles()).toEqual([])
  })

  it('does not fail when a session is deleted while it is read', async () => {
    const directory = await UploadDirectory.create()
    let deleteSession: (() => void) | undefined
    const overrides: FileSystemOverrides = {
      async stat(path) {
        if (path.endsWith('.json')) deleteSession?.()
        return nodeFileSystem.stat(path)
      },
    }
    const { upload, url } = await startServer(directory, overrides)
    const client = await newClient(url, 'a.bin')
    await upload.sweep()
    // As Cancel-Session does in this or another process, because a sweep holds no lock while it lists
    // sessions.
    deleteSession = () => unlinkSync(directory.journal(client))
    expect(await upload.sweep()).toEqual({ expired: 0, open: 0 })
  })
})
