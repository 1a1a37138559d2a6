/** Servers that are stopped (SIGSTOP), as by a debugger or in a frozen cgroup, while other servers use their directory. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import {
  beginFragment,
  newClient,
  sendAlone,
  sendFragmentAlone,
  UploadDirectory,
  writeUntilStored,
} from '../crash/fixture.ts'
import { RestartingServer } from '../crash/restarting-server.ts'
import { noise } from '../support/bytes.ts'
import { type Answer, received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'

const LockTimeoutMs = 500
const file = noise(300_000)
const wrong = noise(300_000, 2)

const start = ({ path }: UploadDirectory) => RestartingServer.start(path, { lockTimeout: LockTimeoutMs })

/** A client of the same session at another server. */
function at({ url }: { readonly url: URL }, client: TestClient): TestClient {
  const same = new TestClient(new URL(client.url.pathname, url))
  same.sessionId = client.sessionId
  return same
}

/** Sends a packet again while it is answered 503: a server that continues may need longer than `lockTimeout`. */
async function retry(packet: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await packet()
    if (answer.status !== 503) return answer
  }
}

/** Uploads a file in two fragments, and expects that no packet fails. */
async function expectUpload({ url }: { readonly url: URL }, directory: UploadDirectory, name: string) {
  const client = await newClient(url, name)
  const half = file.length / 2
  for (const [first, end] of [
    [0, half],
    [half, file.length],
  ] as const) {
    expect((await client.fragment(first, file.subarray(first, end), file.length)).status).toBe(200)
  }
  expect((await client.close()).status).toBe(200)
  expect((await directory.published(name)).equals(file)).toBe(true)
}

async function expectNoSessions(directory: UploadDirectory): Promise<void> {
  expect(await directory.sessionFiles()).toEqual([])
  const locks = await readdir(join(directory.path, '.bits-sessions', 'locks'))
  expect(locks.filter((name) => !/\.(socket|machine)$/.test(name))).toEqual([])
}

describe.skipIf(process.platform !== 'linux')('Server that is stopped', () => {
  it.each(['it', 'the other server'] as const)(
    'keeps a session that %s created: the other server answers 503, and completes the upload when it continues',
    async (creator) => {
      const directory = await UploadDirectory.create()
      const [stopped, other] = [await start(directory), await start(directory)]
      const created = await newClient((creator === 'it' ? stopped : other).url, 'a.bin')
      const [old, client] = [at(stopped, created), at(other, created)]
      const { outgoing, answer } = beginFragment(old, 0, file.length, file.length)
      await writeUntilStored(outgoing, file.subarray(0, 100_000), directory.part(old), 100_000)
      await stopped.pause()

      const last = () => sendFragmentAlone(client, 100_000, file.subarray(100_000), file.length)
      expect((await last()).status).toBe(503)
      expect((await sendAlone(client, 'Cancel-Session')).status).toBe(503)
      // Other sessions are not affected, in the other server and in one that starts now.
      await expectUpload(other, directory, 'b.bin')
      await expectUpload(await start(directory), directory, 'c.bin')
      expect(await other.sweep()).toEqual({ expired: 0, open: 1 })
      expect(await directory.publishedNames()).toEqual(['b.bin', 'c.bin'])

      stopped.resume()
      const end = await retry(last)
      expect([end.status, received(end)]).toEqual([200, file.length])
      // The rest of the fragment that the other server took over. These bytes must not get into the published file.
      outgoing.on('error', () => {}).end(wrong.subarray(100_000))
      expect((await answer).status).toBe(416)
      expect((await directory.published('a.bin')).equals(file)).toBe(true)
      expect((await sendAlone(client, 'Close-Session')).status).toBe(200)
      await expectNoSessions(directory)
    },
  )

  it('writes nothing into the published files of sessions that it worked on when it was stopped', async () => {
    const directory = await UploadDirectory.create()
    const [stopped, other] = [await start(directory), await start(directory)]
    for (let round = 0; round < 20; round += 1) {
      const name = `${round}.bin`
      const old = await newClient((round % 2 === 0 ? stopped : other).url, name)
      const client = at(other, old)
      const { outgoing, answer } = beginFragment(at(stopped, old), 0, file.length, file.length)
      answer.catch(() => {})
      outgoing.on('error', () => {})
      const stored = 1 + round * 5000
      await writeUntilStored(outgoing, file.subarray(0, stored), directory.part(old), stored)
      // It is stopped somewhere in its work on these bytes, or before it.
      outgoing.write(file.subarray(stored, 150_000))
      await stopped.pause()
      outgoing.write(file.subarray(150_000, 200_000))
      const send = () => sendFragmentAlone(client, 0, file, file.length)
      expect((await send()).status).toBe(503)
      expect(await directory.publishedNames()).not.toContain(name)
      stopped.resume()
      // It may be stopped again before it has released the session, and when another server has published the file.
      if (round % 3 === 0) {
        await stopped.pause()
        await send()
        stopped.resume()
      }
      expect((await retry(send)).status).toBe(200)
      await stopped.pause()
      outgoing.end(wrong.subarray(200_000))
      stopped.resume()
      expect((await answer).status).toBe(416)
      expect((await directory.published(name)).equals(file), name).toBe(true)
      expect((await sendAlone(client, 'Close-Session')).status).toBe(200)
    }
    await expectNoSessions(directory)
  })

  it('does not delay other requests when it only waits for a lock', async () => {
    const directory = await temporaryDirectory()
    const lockers = [processLocker(directory), processLocker(directory), processLocker(directory)] as const
    const [creator, holder, other] = lockers
    const key = lockKey({ id: newGuid(await creator.idPrefix?.()), path: '/a' })
    await (await creator.acquire(key, { isNew: true })).release()
    const { promise: requested, resolve } = withResolvers<void>()
    const held = await holder.acquire(key, { onReleaseRequested: resolve })
    const program = fileURLToPath(new URL('holder.ts', import.meta.url))
    const child = fork(program, [directory, key], { execArgv: ['--import', 'tsx'] })
    onTestFinished(async () => {
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
    })
    await requested
    child.kill('SIGSTOP')
    await held.release()
    const next = [creator, other].map(async (locker) => (await locker.acquire(key)).release())
    await Promise.all(next)
    child.kill('SIGCONT')
    expect(await once(child, 'message')).toEqual([key, undefined])
  })
})
