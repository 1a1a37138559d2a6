import { describe, expect, it } from 'vitest'
import { ConditionFailed, type ObjectService } from '../../../lib/stores/object/service/service.ts'
import type { CreateOptions, NewSession, Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { engines } from '../../support/places.ts'
import { body, complete, listed, loaded, newSession } from '../../support/store.ts'
import { MiB, readAll, sessionKeys, storeOn } from './fixture.ts'

/** Creates a session and appends a file in fragments of `size` bytes. */
async function upload(
  store: Store,
  file: Buffer,
  more: Partial<NewSession> = {},
  size = file.length,
  options: CreateOptions = {},
) {
  const session = newSession({ maxSize: 2 ** 40, ...more })
  await store.create(session, options)
  for (let first = 0; first < file.length; first += size) {
    const fragment = file.subarray(first, first + size)
    await store.append(await loaded(store, session.id), body(fragment), { total: file.length, durable: true })
  }
  return loaded(store, session.id)
}

/** A service whose writes of matching texts fail. */
const failingPuts = (service: ObjectService, fails: (text: string) => boolean): ObjectService => ({
  ...service,
  async put(key, chunks, options) {
    if (fails(Buffer.concat(chunks).toString())) throw new Error('connection lost')
    return service.put(key, chunks, options)
  },
})

describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('published file', () => {
    it('is an object under its name with content type, size and owner', async () => {
      const place = await engine.open()
      const store = place.store({ prefix: 'in/' })
      const name = 'logs/Zürich 1.txt'
      await store.publish(await complete(store, 'abc', { name, owner: 'DOMAIN\\Jörg' }))
      const found = await place.service('in/').head(name)
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
      // S3 accepts 2 KB of metadata.
      await store.publish(await complete(store, 'y', { name: 'b.txt', owner: 'ü'.repeat(1000) }))
      expect((await place.see('in/b.txt'))?.metadata).toMatchObject({ size: '1' })
    })

    it.each([
      ['an upload to its name', { mayReadBytes: false }],
      ['separate objects, which are read', { mayReadBytes: true }],
    ])('has content type, size and owner if its parts are %s', { timeout: 60_000 }, async (_, options) => {
      const place = await engine.open()
      const store = place.store({ partSize: '5mb' })
      const file = noise(12 * MiB + 1)
      // The fragments do not end with parts, so that the upload has tail objects.
      const session = await upload(store, file, { name: 'a.csv', owner: 'ann' }, 3_700_001, options)
      if (options.mayReadBytes) expect(file.equals(await readAll(store, session))).toBe(true)
      await store.publish(session)
      const found = await place.see('a.csv')
      expect(found?.bytes.equals(file)).toBe(true)
      expect(found).toMatchObject({
        contentType: 'text/csv',
        metadata: { size: String(file.length), owner: 'ann', session: session.id },
      })
      expect(await place.unfinished()).toEqual([])
      // The bytes exist only once.
      expect(await sessionKeys(place)).toEqual([`.bits-sessions/records/${session.id}`])
    })

    it('is rejected under a reserved or too long name, and list ignores foreign objects', async () => {
      const place = await engine.open()
      const store = place.store()
      // Stores with the prefixes 'in/' and 'in' have their sessions there.
      const nested = ['in/.bits-sessions/records/x', 'in.bits-sessions/records/x']
      for (const name of ['.bits-sessions', '.BITS-sessions/x', '.bits-sessions/records/x', ...nested]) {
        await expect(store.create(newSession({ name }))).rejects.toMatchObject({
          code: 'invalid-destination',
        })
      }
      await expect(store.create(newSession({ name: `${'ü'.repeat(512)}x` }))).rejects.toMatchObject({
        code: 'invalid-destination',
      })
      await place.service().put('.bits-sessionsx', [Buffer.from('x')])
      // Consoles of services represent a folder by an empty object.
      for (const folder of ['records', 'uploads', 'claims', 'other', 'other/x']) {
        await place.service().put(`.bits-sessions/${folder}/`, [])
      }
      expect(await listed(store)).toEqual([])
    })
  })

  engine.describe('record that cannot be read', () => {
    it('is reported and kept, and the other sessions are listed', async () => {
      const place = await engine.open()
      const store = place.store()
      const [odd, good] = [newSession({ name: 'a' }), newSession({ name: 'b' })]
      for (const session of [odd, good]) await store.create(session)
      const key = `.bits-sessions/records/${odd.id}`
      await place.service().put(key, [Buffer.from(JSON.stringify({ version: 2, session: odd }))])
      await expect(store.load(odd.id)).rejects.toMatchObject({ code: 'store-failed' })
      const ids: string[] = []
      const errors: unknown[] = []
      for await (const { id } of store.list({ onUnreadable: (error) => errors.push(error) })) ids.push(id)
      expect(ids).toEqual([good.id])
      expect(errors).toMatchObject([{ message: expect.stringContaining('format 2') }])
      expect(await place.service().head(key)).toBeDefined()
    })
  })

  engine.describe('session shared by two servers', () => {
    it('accepts one of two concurrent appends, and rejects the other with out-of-sync', async () => {
      const place = await engine.open()
      const [one, another] = [place.store(), place.store()]
      const session = newSession()
      await one.create(session)
      const stale = await loaded(another, session.id)
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
      expect((await readAll(one, after)).toString()).toBe(files[winner])
      // A server that has loaded it before cannot accept or reject it either.
      const decisions = [() => another.reject(stale, 'late'), () => another.accept(stale, { publish: false })]
      for (const decide of decisions) await expect(decide()).rejects.toBeInstanceOf(ConditionFailed)
      expect((await loaded(one, session.id)).state).toBe('receiving')
    })

    it('removes on list the bytes that a late append wrote after remove', async () => {
      const place = await engine.open()
      const store = place.store()
      const session = newSession()
      await store.create(session)
      const before = await loaded(store, session.id)
      await store.remove(await loaded(store, session.id))
      await expect(store.append(before, body('late'), { total: 4, durable: true })).rejects.toThrow()
      const other = await complete(store, 'abc', { name: 'b.bin' })
      expect((await sessionKeys(place)).some((key) => key.includes(session.id))).toBe(true)
      expect(await listed(store)).toEqual([other.id])
      expect((await sessionKeys(place)).filter((key) => key.includes(session.id))).toEqual([])
      expect((await readAll(store, await loaded(store, other.id))).toString()).toBe('abc')
    })
  })

  engine.describe('interrupted publication', () => {
    it('completes on retry when only the session record was not written', { timeout: 60_000 }, async () => {
      const place = await engine.open()
      for (const file of [noise(1000), noise(11 * MiB)]) {
        for (const overwrite of [false, true]) {
          const name = `${file.length} ${overwrite}.bin`
          const store = storeOn(place.service())
          const session = await upload(store, file, { name, overwrite })
          const failing = storeOn(failingPuts(place.service(), (text) => text.includes('"published":true')))
          await expect(failing.publish(await loaded(failing, session.id))).rejects.toThrow('connection lost')
          expect((await place.see(name))?.bytes.equals(file)).toBe(true)
          await store.publish(await loaded(store, session.id))
          expect((await loaded(store, session.id)).state).toBe('published')
          await store.remove(await loaded(store, session.id))
          expect((await place.see(name))?.bytes.equals(file)).toBe(true)
        }
      }
      expect(await sessionKeys(place)).toEqual([])
      expect(await place.unfinished()).toEqual([])
    })

    it.each([
      ['an upload to the name', { mayReadBytes: false }],
      ['separate objects', { mayReadBytes: true }],
    ])(
      'leaves no unfinished upload after a retry, and on S3 none after remove: %s',
      {
        timeout: 60_000,
      },
      async (_, options) => {
        const place = await engine.open()
        const store = storeOn(place.service())
        const file = noise(11 * MiB)
        const failing = storeOn({
          ...place.service(),
          completeUpload: () => Promise.reject(new Error('the server was killed')),
        })
        const [retried, removed] = [
          await upload(store, file, {}, file.length, options),
          await upload(store, file, { name: 'b.bin' }, file.length, options),
        ]
        for (const { id } of [retried, removed]) {
          await expect(failing.publish(await loaded(failing, id))).rejects.toThrow('the server was killed')
        }
        // An upload of another application, to a name that begins with the file's name.
        await place.beginUpload('a.bin.bak')
        await store.publish(await loaded(store, retried.id))
        await store.remove(await loaded(store, removed.id))
        expect((await place.see('a.bin'))?.bytes.equals(file)).toBe(true)
        expect(await sessionKeys(place)).toEqual([`.bits-sessions/records/${retried.id}`])
        // Azure itself removes unfinished uploads after a week.
        const unfinished = (await place.unfinished()).filter((key) => engine.name === 'S3' || key !== 'b.bin')
        expect(unfinished).toEqual(['a.bin.bak'])
      },
    )
  })
})
