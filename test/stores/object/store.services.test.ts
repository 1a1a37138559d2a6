import { describe, expect, it } from 'vitest'
import { memoryLocker } from '../../../lib/locks/memory.ts'
import { ObjectStore } from '../../../lib/stores/object/object-store.ts'
import { ConditionFailed, type ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { NewSession, Session, Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { engines, type Place } from '../../support/places.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, complete, listed, loaded, newSession } from '../../support/store.ts'

const MiB = 2 ** 20

/** Begins a session and fills it with these fragments. */
async function upload(store: Store, file: Buffer, more: Partial<NewSession> = {}, size = file.length) {
  const session = newSession({ maxSize: 2 ** 40, ...more })
  await store.create(session)
  for (let first = 0; first < file.length; first += size) {
    const fragment = file.subarray(first, first + size)
    await store.append(await loaded(store, session.id), body(fragment), { total: file.length, durable: true })
  }
  return loaded(store, session.id)
}

async function read(store: Store, session: Session): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of store.read(session)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** A store on a space that something was done to. */
const storeOn = (space: ObjectService, part = 5 * MiB, memory = 256 * MiB): Store =>
  new ObjectStore({ service: space, locker: undefined, names: memoryLocker(), part, memory, longest: 1024 })

/** The space, and how many calls there were since it was asked last. */
function counted(space: ObjectService) {
  let calls = 0
  const proxy = new Proxy(space, {
    get(target, name: keyof ObjectService) {
      if (typeof target[name] === 'function') calls += 1
      return target[name]
    },
  })
  const since = (): number => {
    const count = calls
    calls = 0
    return count
  }
  return { space: proxy, since }
}

/** The space, whose writes of such texts fail. */
const failingPuts = (space: ObjectService, isToFail: (text: string) => boolean): ObjectService => ({
  ...space,
  async put(key, chunks, options) {
    if (isToFail(Buffer.concat(chunks).toString())) throw new Error('the line is cut')
    return space.put(key, chunks, options)
  },
})

/** What there is of sessions: servers have heartbeats there, too. */
const ours = async (place: Place): Promise<string[]> =>
  (await place.keys()).filter((key) => /\.bits-sessions\/(records|uploads)\//.test(key))

describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('published file', () => {
    it('is an object under its name with content type, size and owner', async () => {
      const place = await engine.open()
      const store = place.store({ prefix: 'in/' })
      const name = 'logs/Zürich 1.txt'
      await store.publish(await complete(store, 'abc', { name, owner: 'DOMAIN\\Jörg' }))
      const found = await place.space('in/').head(name)
      expect(found).toMatchObject({ size: 3, metadata: { size: '3', owner: 'DOMAIN\\Jörg' } })
      expect(await place.see(`in/${name}`)).toMatchObject({
        bytes: Buffer.from('abc'),
        contentType: 'text/plain',
        metadata: { size: '3' },
      })
      await store.publish(await complete(store, 'x', { name: 'a.unknown' }))
      const { contentType, metadata } = (await place.see('in/a.unknown')) ?? {}
      expect(contentType).toBe('application/octet-stream')
      expect(metadata).not.toHaveProperty('owner')
      // Services take 2 KB of metadata.
      await store.publish(await complete(store, 'y', { name: 'b.txt', owner: 'ü'.repeat(1000) }))
      expect((await place.see('in/b.txt'))?.metadata).toMatchObject({ size: '1' })
    })

    it('keeps content type, size and owner when it has several parts', { timeout: 60_000 }, async () => {
      const place = await engine.open()
      const store = place.store({ partSize: '5mb' })
      const file = noise(12 * MiB + 1)
      // Fragments that end anywhere: the tail is a part's beginning, or several pieces.
      const session = await upload(store, file, { name: 'a.csv', owner: 'ann' }, 3_700_001)
      expect(file.equals(await read(store, session))).toBe(true)
      await store.publish(session)
      const found = await place.see('a.csv')
      expect(found?.bytes.equals(file)).toBe(true)
      expect(found).toMatchObject({
        contentType: 'text/csv',
        metadata: { size: String(file.length), owner: 'ann', session: session.id },
      })
      expect(await place.unfinished()).toEqual([])
      // The bytes are there once.
      expect(await ours(place)).toEqual([`.bits-sessions/records/${session.id}`])
    })

    it('is rejected under a reserved or too long name, and list ignores foreign objects', async () => {
      const place = await engine.open()
      const store = place.store()
      // Where stores whose prefixes are 'in/' and 'in' have their sessions.
      const nested = ['in/.bits-sessions/records/x', 'in.bits-sessions/records/x']
      for (const name of ['.bits-sessions', '.BITS-sessions/x', '.bits-sessions/records/x', ...nested]) {
        await expect(store.create(newSession({ name }))).rejects.toMatchObject({
          code: 'invalid-destination',
        })
      }
      await expect(store.create(newSession({ name: `${'ü'.repeat(512)}x` }))).rejects.toMatchObject({
        code: 'invalid-destination',
      })
      await place.space().put('.bits-sessionsx', [Buffer.from('x')])
      // Consoles of services put such things where somebody asks for a folder.
      for (const folder of ['records', 'uploads', 'locks', 'nodes', 'wants', 'wants/x']) {
        await place.space().put(`.bits-sessions/${folder}/`, [])
      }
      expect(await listed(store)).toEqual([])
    })
  })

  engine.describe('session shared by two servers', () => {
    it('accepts one of two unlocked appends, and rejects the other with out-of-sync', async () => {
      const place = await engine.open()
      const [one, another] = [place.store(), place.store()]
      const session = newSession()
      await one.create(session)
      const both = await Promise.all([loaded(one, session.id), loaded(another, session.id)])
      const files = ['the one', 'another'] as const
      const results = await Promise.allSettled([
        one.append(both[0], body(files[0]), { total: 7, durable: true }),
        another.append(both[1], body(files[1]), { total: 7, durable: true }),
      ])
      const winner = results.findIndex(({ status }) => status === 'fulfilled')
      expect(results[1 - winner]).toMatchObject({ status: 'rejected', reason: { code: 'out-of-sync' } })
      const after = await loaded(one, session.id)
      expect(after.received).toBe(7)
      expect((await read(one, after)).toString()).toBe(files[winner])
      // Nor is it accepted, refused, or published by who saw it before.
      const late = [
        () => (winner ? one : another).reject(both[1 - winner] as Session, 'late'),
        () => (winner ? one : another).accept(both[1 - winner] as Session, { publish: false }),
      ]
      for (const decide of late) await expect(decide()).rejects.toBeInstanceOf(ConditionFailed)
      expect((await loaded(one, session.id)).state).toBe('receiving')
    })

    it('removes on list the bytes that a late append wrote after remove', async () => {
      const place = await engine.open()
      const store = place.store()
      const session = newSession()
      await store.create(session)
      const seen = await loaded(store, session.id)
      await store.remove(await loaded(store, session.id))
      await expect(store.append(seen, body('late'), { total: 4, durable: true })).rejects.toThrow()
      const other = await complete(store, 'abc', { name: 'b.bin' })
      expect((await ours(place)).some((key) => key.includes(session.id))).toBe(true)
      expect(await listed(store)).toEqual([other.id])
      expect((await ours(place)).filter((key) => key.includes(session.id))).toEqual([])
      expect((await read(store, await loaded(store, other.id))).toString()).toBe('abc')
    })
  })

  engine.describe('fragment', () => {
    it('is recorded while it arrives, so that a crash loses few bytes', async () => {
      const place = await engine.open()
      const store = place.store({ partSize: '5mb' })
      const session = newSession({ maxSize: 2 ** 40 })
      await store.create(session)
      const part = noise(5 * MiB)
      const { promise: end, resolve: cut } = withResolvers<void>()
      let given = 0
      async function* bytes() {
        for (; given < 18; given += 1) yield [part]
        await end
      }
      const appending = store.append(await loaded(store, session.id), bytes(), {
        total: 100 * part.length,
        durable: false,
      })
      // Another process sees it, while the body stands still.
      const other = place.store()
      await expect
        .poll(async () => (await loaded(other, session.id)).received, { timeout: 20_000 })
        .toBe(16 * part.length)
      cut()
      expect((await appending).received).toBe(18 * part.length)
    })

    it('rejects when its signal is aborted during a write', async () => {
      const place = await engine.open()
      const space = place.space()
      const store = storeOn(space)
      const session = newSession()
      await store.create(session)
      await store.append(await loaded(store, session.id), body('abc'), { total: 9, durable: true })
      const sent = withResolvers<void>()
      const hanging = storeOn({
        ...space,
        put(key, chunks, options) {
          if (!key.includes('/bytes/')) return space.put(key, chunks, options)
          sent.resolve()
          return new Promise((_, reject) => {
            options?.signal?.addEventListener('abort', () => reject(options.signal?.reason))
          })
        },
      })
      const late = new AbortController()
      const given = { total: 9, durable: true, signal: late.signal }
      const appending = hanging.append(await loaded(hanging, session.id), body('def'), given)
      await sent.promise
      late.abort(new Error('nobody waits'))
      await expect(appending).rejects.toThrow('nobody waits')
      expect((await loaded(store, session.id)).received).toBe(3)
    })

    it('is written in less than 10 chunks per object when it arrives byte by byte', async () => {
      const place = await engine.open()
      const space = place.space()
      const counts: number[] = []
      const store = storeOn({
        ...space,
        put(key, chunks, options) {
          counts.push(chunks.length)
          return space.put(key, chunks, options)
        },
      })
      const session = newSession()
      await store.create(session)
      const file = noise(200_000)
      async function* bytes() {
        for (let i = 0; i < file.length; i += 1) yield [file.subarray(i, i + 1)]
      }
      const total = file.length
      const after = await store.append(await loaded(store, session.id), bytes(), { total, durable: true })
      expect((await read(store, after)).equals(file)).toBe(true)
      // Each chunk is an object of a hundred bytes, however small it is.
      expect(Math.max(...counts)).toBeLessThan(10)
    })

    it('shares one memory budget with all other fragments, and so do publications', async () => {
      const place = await engine.open()
      const space = place.space()
      let [writing, most] = [0, 0]
      const counting: ObjectService = {
        ...space,
        async put(key, chunks, options) {
          const size = chunks.reduce((sum, { length }) => sum + length, 0)
          writing += size
          most = Math.max(most, writing)
          return space.put(key, chunks, options).finally(() => {
            writing -= size
          })
        },
      }
      const store = storeOn(counting, 5 * MiB, 10 * MiB)
      const file = noise(5 * MiB)
      const total = file.length
      const ids = Array.from({ length: 8 }, () => newSession({ maxSize: total }))
      for (const [i, session] of ids.entries()) {
        await store.create({ ...session, name: `${i}.bin` })
        const beginning = body(file.subarray(0, 4 * MiB))
        await store.append(await loaded(store, session.id), beginning, { total, durable: true })
      }
      const sessions = await Promise.all(ids.map(({ id }) => loaded(store, id)))
      await Promise.all(
        sessions.map((session) =>
          store.append(session, body(file.subarray(4 * MiB)), { total, durable: true }),
        ),
      )
      expect(most).toBeLessThan(20 * MiB)
      most = 0
      await Promise.all(ids.map(async ({ id }) => store.publish(await loaded(store, id))))
      expect(most).toBeLessThan(11 * MiB)
      for (const i of ids.keys()) expect((await place.see(`${i}.bin`))?.bytes.equals(file)).toBe(true)
    })

    it('of a few bytes needs 4 service calls, however many came before', { timeout: 60_000 }, async () => {
      const place = await engine.open()
      const { space, since } = counted(place.space())
      const store = storeOn(space)
      const session = newSession({ maxSize: 2 ** 40 })
      await store.create(session)
      const costs: number[] = []
      since()
      for (let i = 0; i < 100; i += 1) {
        const now = await loaded(store, session.id)
        await store.append(now, body(Buffer.alloc(100, i)), { total: 10_000, durable: false })
        costs.push(since())
      }
      // The record, the list, the bytes, the record anew; sometimes pieces are gathered.
      const usual = costs.slice(1).filter((cost) => cost === 4)
      expect(usual.length).toBeGreaterThanOrEqual(95)
      expect((await ours(place)).length).toBeLessThan(40)
      const after = await loaded(store, session.id)
      const expected = Buffer.concat(Array.from({ length: 100 }, (_, i) => Buffer.alloc(100, i)))
      expect((await read(store, after)).equals(expected)).toBe(true)
    })
  })

  engine.describe('interrupted publication', () => {
    it('completes on retry when only the session record was not written', { timeout: 60_000 }, async () => {
      const place = await engine.open()
      for (const file of [noise(1000), noise(11 * MiB)]) {
        for (const overwrite of [false, true]) {
          const name = `${file.length} ${overwrite}.bin`
          const store = storeOn(place.space())
          const session = await upload(store, file, { name, overwrite })
          const dying = storeOn(failingPuts(place.space(), (text) => text.includes('"published":true')))
          await expect(dying.publish(await loaded(dying, session.id))).rejects.toThrow('the line is cut')
          expect((await place.see(name))?.bytes.equals(file)).toBe(true)
          await store.publish(await loaded(store, session.id))
          expect((await loaded(store, session.id)).state).toBe('published')
          await store.remove(await loaded(store, session.id))
          expect((await place.see(name))?.bytes.equals(file)).toBe(true)
        }
      }
      expect(await ours(place)).toEqual([])
      expect(await place.unfinished()).toEqual([])
    })

    it('leaves no unfinished upload after a retry, and on S3 none after remove', {
      timeout: 60_000,
    }, async () => {
      const place = await engine.open()
      const store = storeOn(place.space())
      const file = noise(11 * MiB)
      // A server that dies in the midst of a join gives up nothing.
      const dying = storeOn({
        ...place.space(),
        async compose(_sources, key) {
          await place.beginJoin(key)
          throw new Error('the server is dead')
        },
      })
      const [again, gone] = [await upload(store, file), await upload(store, file, { name: 'b.bin' })]
      for (const { id } of [again, gone]) {
        await expect(dying.publish(await loaded(dying, id))).rejects.toThrow('the server is dead')
      }
      // Somebody else's, whose name begins like ours.
      await place.beginJoin('a.bin.bak')
      const [begun] = [await place.unfinished()]
      await store.publish(await loaded(store, again.id))
      await store.remove(await loaded(store, gone.id))
      expect((await place.see('a.bin'))?.bytes.equals(file)).toBe(true)
      expect(await ours(place)).toEqual([`.bits-sessions/records/${again.id}`])
      // Of what it has begun Azure itself gets rid, in a week.
      const left = engine.name === 'S3' ? ['a.bin.bak'] : begun.filter((key) => key !== 'a.bin')
      expect(await place.unfinished()).toEqual(left)
    })
  })
})
