import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { memoryStore } from '../../../lib/index.ts'
import { noise } from '../../support/bytes.ts'
import { TestClient } from '../../support/client.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { withResolvers } from '../../support/promise.ts'
import { BG_E_SESSION_NOT_FOUND, BG_E_TOO_LARGE, E_INVALIDARG, expectAck } from '../acks.ts'
import { age, filesOf, published, sessionFiles, timesOf } from '../disk.ts'
import { all, next, oddFragment, type ServerSetup, session, sessionOn, start } from '../setting.ts'

/** Milliseconds after which sessions expire. A sweep checks them twice, 0.3 s apart. */
const ExpireAfter = 30_000
const file = noise(300)

/** Sessions that expire after `ExpireAfter`, only by a call of sweep(). */
const expiring = { expireAfter: ExpireAfter, sweepEvery: 0 }

async function expectUnknown(client: TestClient): Promise<void> {
  for (const answer of [await client.fragment(100, file.subarray(100), 300), await client.close()]) {
    expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, sessionId: client.sessionId, received: null })
  }
}

describe('Timeouts and limits', () => {
  it('90: deletes the files of expired sessions and returns 0x8020001F for their ids', async () => {
    const server = await start(expiring)
    const { upload, directory } = server
    const expired = all(upload, 'expired')
    const [silent, half, whole, fresh] = [
      await sessionOn(server, 'silent.bin'),
      await sessionOn(server, 'half.bin'),
      await sessionOn(server, 'whole.bin'),
      await sessionOn(server, 'fresh.bin'),
    ]
    const old = [silent, half, whole]
    await half.fragment(0, file.subarray(0, 100), 300)
    await whole.fragment(0, file, 300)
    await fresh.fragment(0, file.subarray(0, 100), 300)

    for (const { sessionId } of old) await age(directory, sessionId, (2 / 3) * ExpireAfter)
    expect(await upload.sweep()).toEqual({ expired: 0, open: 4 })
    for (const { sessionId } of old) await age(directory, sessionId, (2 / 3) * ExpireAfter)
    expect(await upload.sweep()).toEqual({ expired: 3, open: 1 })

    expect(expired.map(({ id }) => id).sort()).toEqual(old.map(({ sessionId }) => sessionId).sort())
    expect(await sessionFiles(directory)).toEqual([`${fresh.sessionId}.json`, `${fresh.sessionId}.part`])
    for (const client of old) await expectUnknown(client)
    // Published files do not expire.
    expect(await published(directory)).toEqual(['whole.bin'])
    expect(await readFile(join(directory, 'whole.bin'))).toEqual(file)
    expectAck(await fresh.fragment(100, file.subarray(100), 300), 200, { received: 300 })
  })

  it('91: restarts the expiry timer at a successful fragment just before expiry', async () => {
    const server = await start(expiring)
    const { upload, directory } = server
    const [active, doubled, idle] = [
      await sessionOn(server, 'active.bin'),
      await sessionOn(server, 'doubled.bin'),
      await sessionOn(server, 'idle.bin'),
    ]
    const clients = [active, doubled, idle]
    for (const client of clients) await client.fragment(0, file.subarray(0, 100), 300)
    for (const { sessionId } of clients) await age(directory, sessionId, (2 / 3) * ExpireAfter)

    expectAck(await active.fragment(100, file.subarray(100, 200), 300), 200, { received: 200 })
    // A fragment without new bytes also succeeds.
    expectAck(await doubled.fragment(0, file.subarray(0, 100), 300), 200, { received: 100 })

    for (const { sessionId } of clients) await age(directory, sessionId, (2 / 3) * ExpireAfter)
    expect(await upload.sweep()).toEqual({ expired: 1, open: 2 })
    await expectUnknown(idle)
    for (const { sessionId } of clients) await age(directory, sessionId, ExpireAfter)
    expect(await upload.sweep()).toEqual({ expired: 2, open: 0 })
    expect(await sessionFiles(directory)).toEqual([])
  })

  describe('92: expiry timer', () => {
    const failures: [
      what: string,
      status: number,
      setup: ServerSetup,
      packet: (client: TestClient) => unknown,
    ][] = [
      ['gap', 416, {}, (client) => client.fragment(200, file.subarray(200), 300)],
      ['different total', 400, {}, (client) => client.fragment(100, file.subarray(100), 301)],
      [
        'invalid range',
        400,
        {},
        (client) => oddFragment(client, { 'Content-Range': 'bytes 9-0/300' }, file.subarray(0, 10)),
      ],
      [
        'fragment too large',
        413,
        { maxFragmentSize: 150 },
        (client) => client.fragment(100, file.subarray(100), 300),
      ],
    ]

    for (const [what, status, setup, packet] of failures) {
      it(`92: is not restarted by a failed packet (${status}, ${what})`, async () => {
        const { upload, client, directory, id } = await session({ ...expiring, ...setup })
        await client.fragment(0, file.subarray(0, 100), 300)
        await age(directory, id, (2 / 3) * ExpireAfter)
        const times = await timesOf(directory, id)
        expect(await packet(client)).toMatchObject({ status })
        expect(await timesOf(directory, id)).toEqual(times)
        expect(await upload.sweep()).toEqual({ expired: 0, open: 1 })

        await age(directory, id, (2 / 3) * ExpireAfter)
        expect(await upload.sweep()).toEqual({ expired: 1, open: 0 })
        await expectUnknown(client)
        expect(await sessionFiles(directory)).toEqual([])
      })
    }

    it('90: expires a session at a scheduled sweep, without a call of sweep()', async () => {
      const { upload, client, directory, id } = await session({ expireAfter: ExpireAfter, sweepEvery: 20 })
      await client.fragment(0, file.subarray(0, 100), 300)
      const expired = next(upload, 'expired')
      await age(directory, id, 2 * ExpireAfter)
      expect(await expired).toMatchObject({ id, received: 100 })
      await expectUnknown(client)
      expect(await sessionFiles(directory)).toEqual([])
    })

    it('92: is not restarted by a failed packet before the first byte', async () => {
      const { upload, client, directory, id } = await session({ ...expiring, maxSize: 300 })
      await age(directory, id, (2 / 3) * ExpireAfter)
      expectAck(await client.fragment(100, file.subarray(100), 300), 416, { received: 0 })
      expectAck(await client.fragment(0, file, 301), 500, { error: BG_E_TOO_LARGE, received: 0 })
      expectAck(await client.send('Close-Session'), 400, { error: E_INVALIDARG })
      await age(directory, id, (2 / 3) * ExpireAfter)
      expect(await upload.sweep()).toEqual({ expired: 1, open: 0 })
      await expectUnknown(client)
    })
  })

  it('93: removes the newest sessions above maxSessionsPerOwner at a sweep', async () => {
    const directory = await temporaryDirectory()
    const authorize: ServerSetup['authorize'] = ({ headers }) => {
      const user = headers['x-user']
      return typeof user === 'string' ? user : undefined
    }
    const setup = { directory, authorize, sweepEvery: 0 }
    const generous = await start({ ...setup, maxSessionsPerOwner: 10 })
    // The sessions are created one second apart.
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => {
      vi.useRealTimers()
    })
    const clients: TestClient[] = []
    for (const [i, user] of [
      'alice',
      'bob',
      'alice',
      'alice',
      '',
      'bob',
      'alice',
      'alice',
      '',
      '',
    ].entries()) {
      vi.setSystemTime(Date.now() + 1000)
      const client = await sessionOn(generous, `${i}.bin`, user === '' ? {} : { 'X-User': user })
      await client.fragment(0, file.subarray(0, 100), 300)
      clients.push(client)
    }
    await generous.upload.close()

    const strict = await start({ ...setup, maxSessionsPerOwner: 2 })
    const expired = all(strict.upload, 'expired')
    expect(await strict.upload.sweep()).toEqual({ expired: 3, open: 7 })
    const newest = [3, 6, 7].map((i) => clients[i]?.sessionId)
    expect(expired.map(({ id }) => id).sort()).toEqual(newest.sort())
    for (const [i, { sessionId }] of clients.entries()) {
      const files = newest.includes(sessionId) ? [] : [`${sessionId}.json`, `${sessionId}.part`]
      expect([i, await filesOf(directory, sessionId)]).toEqual([i, files])
    }
    expect(await strict.upload.sweep()).toEqual({ expired: 0, open: 7 })
  })

  it('93: returns 503 above maxSessionsPerOwner or maxSessions until a session ends', async () => {
    const authorize: ServerSetup['authorize'] = ({ headers }) => String(headers['x-user'])
    const server = await start({ authorize, maxSessionsPerOwner: 2, maxSessions: 3, sweepEvery: 0 })
    const { url, directory } = server
    const alice = { 'X-User': 'alice' }
    const first = await sessionOn(server, 'a.bin', alice)
    await sessionOn(server, 'b.bin', alice)
    const refused = new TestClient(new URL('c.bin', url), alice)
    expectAck(await refused.create(), 503, { sessionId: null })
    // Another user is not affected until the total reaches maxSessions.
    await sessionOn(server, 'd.bin', { 'X-User': 'bob' })
    expectAck(await new TestClient(new URL('e.bin', url), { 'X-User': 'carol' }).create(), 503, {
      sessionId: null,
    })
    expect(await sessionFiles(directory)).toHaveLength(3)

    expectAck(await first.cancel(), 200)
    expectAck(await refused.create(), 200)
  })

  it('93: enforces maxSessionsPerOwner for concurrent Create-Session packets', async () => {
    // Five clients: onCreate waits until each client is either refused or also in onCreate.
    let decided = 0
    const gate = withResolvers<void>()
    const decide = (): void => {
      decided += 1
      if (decided === 5) gate.resolve()
    }
    const { url, directory, upload } = await start({
      authorize: () => 'alice',
      maxSessionsPerOwner: 2,
      sweepEvery: 0,
      onCreate: async () => {
        decide()
        await gate.promise
      },
    })
    upload.events.on('refused', decide)
    const clients = Array.from({ length: 5 }, (_, i) => new TestClient(new URL(`${i}.bin`, url)))
    const answers = await Promise.all(clients.map((client) => client.create()))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 503, 503, 503])
    expect(await sessionFiles(directory)).toHaveLength(2)
  })

  describe('93: session quota during a sweep', () => {
    /** A server with room for one session, whose sweep waits after it has listed the last session. */
    async function serverWithSlowSweep() {
      const store = memoryStore()
      const [counted, gate] = [withResolvers<void>(), withResolvers<void>()]
      async function* list() {
        yield* store.list()
        counted.resolve()
        await gate.promise
      }
      const server = await start({ store: { ...store, list }, maxSessions: 1, sweepEvery: 0 })
      const another = () => new TestClient(new URL('b.bin', server.url)).create()
      return { ...server, counted, gate, another }
    }

    it('93: does not count a session that ended during the sweep', async () => {
      const server = await serverWithSlowSweep()
      const { upload, counted, gate, another } = server
      const client = await sessionOn(server)
      const sweep = upload.sweep()
      await counted.promise
      expectAck(await client.close(), 200)
      gate.resolve()
      await sweep
      expectAck(await another(), 200)
    })

    it('93: counts a session that was being created before the sweep', async () => {
      const [creating, gate] = [withResolvers<void>(), withResolvers<void>()]
      const onCreate = (): Promise<void> => {
        creating.resolve()
        return gate.promise
      }
      const server = await start({ store: memoryStore(), maxSessions: 1, sweepEvery: 0, onCreate })
      const creation = sessionOn(server)
      await creating.promise
      await server.upload.sweep()
      gate.resolve()
      await creation
      expectAck(await new TestClient(new URL('b.bin', server.url)).create(), 503, { sessionId: null })
    })

    it('93: counts a session that was created during the sweep', async () => {
      const server = await serverWithSlowSweep()
      const { upload, counted, gate, another } = server
      const sweep = upload.sweep()
      await counted.promise
      await sessionOn(server)
      gate.resolve()
      await sweep
      expectAck(await another(), 503, { sessionId: null })
    })
  })

  it('94: removes all sessions at a sweep while uploads are disabled', async () => {
    let enabled = true
    const server = await start({ enabled: () => enabled, sweepEvery: 0 })
    const { upload, directory } = server
    const expired = all(upload, 'expired')
    const clients = [
      await sessionOn(server, 'a.bin'),
      await sessionOn(server, 'b.bin'),
      await sessionOn(server, 'c.bin'),
    ]
    await clients[0]?.fragment(0, file.subarray(0, 100), 300)
    await clients[1]?.fragment(0, file, 300)
    expect(await upload.sweep()).toEqual({ expired: 0, open: 3 })

    enabled = false
    expect(await upload.sweep()).toEqual({ expired: 3, open: 0 })
    expect(expired).toHaveLength(3)
    expect(await sessionFiles(directory)).toEqual([])
    expect(await published(directory)).toEqual(['b.bin'])

    enabled = true
    for (const client of clients) await expectUnknown(client)
    expect(await readFile(join(directory, 'b.bin'))).toEqual(file)
    expect(await sessionFiles(directory)).toEqual([])
  })
})
