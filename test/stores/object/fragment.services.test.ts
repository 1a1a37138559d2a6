import { describe, expect, it } from 'vitest'
import type { ObjectService } from '../../../lib/stores/object/service/service.ts'
import { noise } from '../../support/bytes.ts'
import { engines } from '../../support/places.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, loaded, newSession } from '../../support/store.ts'
import { MiB, readAll, sessionKeys, storeOn } from './fixture.ts'

/**
 * A service that counts its calls, and a function that returns the number of calls since it was last called.
 */
function countingService(service: ObjectService) {
  let calls = 0
  const proxy = new Proxy(service, {
    get(target, name: keyof ObjectService) {
      if (typeof target[name] === 'function') calls += 1
      return target[name]
    },
  })
  const callsSince = (): number => {
    const count = calls
    calls = 0
    return count
  }
  return { service: proxy, callsSince }
}

describe.each(engines)('Object store on $name', (engine) => {
  engine.describe('fragment', () => {
    it('is recorded while it arrives, so that a crash loses few bytes', async () => {
      const place = await engine.open()
      const store = place.store({ partSize: '5mb' })
      const session = newSession({ maxSize: 2 ** 40 })
      await store.create(session)
      const part = noise(5 * MiB)
      const { promise: end, resolve: endBody } = withResolvers<void>()
      let sent = 0
      async function* bytes() {
        for (; sent < 18; sent += 1) yield [part]
        await end
      }
      const appending = store.append(await loaded(store, session.id), bytes(), {
        total: 100 * part.length,
        durable: false,
      })
      // Another process loads the session while the body is incomplete.
      const other = place.store()
      await expect
        .poll(async () => (await loaded(other, session.id)).received, { timeout: 20_000 })
        // The record is updated after 16 parts, with the bytes behind them as one more part.
        .toBe(17 * part.length)
      endBody()
      expect((await appending).received).toBe(18 * part.length)
    })

    it('rejects when its signal is aborted during a write', async () => {
      const place = await engine.open()
      const service = place.service()
      const store = storeOn(service)
      const session = newSession()
      await store.create(session)
      await store.append(await loaded(store, session.id), body('abc'), { total: 9, durable: true })
      const sent = withResolvers<void>()
      const hanging = storeOn({
        ...service,
        put(key, chunks, options) {
          if (!key.includes('/bytes/')) return service.put(key, chunks, options)
          sent.resolve()
          return new Promise((_, reject) => {
            options?.signal?.addEventListener('abort', () => reject(options.signal?.reason))
          })
        },
      })
      const controller = new AbortController()
      const options = { total: 9, durable: true, signal: controller.signal }
      const appending = hanging.append(await loaded(hanging, session.id), body('def'), options)
      await sent.promise
      controller.abort(new Error('the caller gave up'))
      await expect(appending).rejects.toThrow('the caller gave up')
      expect((await loaded(store, session.id)).received).toBe(3)
    })

    it('is written in less than 10 chunks per object when it arrives byte by byte', async () => {
      const place = await engine.open()
      const service = place.service()
      const counts: number[] = []
      const store = storeOn({
        ...service,
        put(key, chunks, options) {
          counts.push(chunks.length)
          return service.put(key, chunks, options)
        },
        putPart(key, part, chunks, options) {
          counts.push(chunks.length)
          return service.putPart(key, part, chunks, options)
        },
      })
      const session = newSession()
      await store.create(session)
      const file = noise(200_000)
      async function* bytes() {
        for (let i = 0; i < file.length; i += 1) yield [file.subarray(i, i + 1)]
      }
      const total = file.length
      await store.append(await loaded(store, session.id), bytes(), { total, durable: true, publish: true })
      expect((await place.see(session.name))?.bytes.equals(file)).toBe(true)
      // Each chunk is a Buffer, which takes about a hundred bytes besides its content.
      expect(Math.max(...counts)).toBeLessThan(10)
    })

    it('shares one memory budget with all other fragments, and so do publications', async () => {
      const place = await engine.open()
      const service = place.service()
      let [writing, most] = [0, 0]
      const counting: ObjectService = {
        ...service,
        async put(key, chunks, options) {
          const size = chunks.reduce((sum, { length }) => sum + length, 0)
          writing += size
          most = Math.max(most, writing)
          return service.put(key, chunks, options).finally(() => {
            writing -= size
          })
        },
      }
      const store = storeOn(counting, 5 * MiB, 10 * MiB)
      const file = noise(5 * MiB)
      const total = file.length
      const newSessions = Array.from({ length: 8 }, () => newSession({ maxSize: total }))
      for (const [i, session] of newSessions.entries()) {
        await store.create({ ...session, name: `${i}.bin` })
        const fragment = body(file.subarray(0, 4 * MiB))
        await store.append(await loaded(store, session.id), fragment, { total, durable: true })
      }
      const sessions = await Promise.all(newSessions.map(({ id }) => loaded(store, id)))
      await Promise.all(
        sessions.map((session) =>
          store.append(session, body(file.subarray(4 * MiB)), { total, durable: true }),
        ),
      )
      expect(most).toBeLessThan(20 * MiB)
      most = 0
      await Promise.all(newSessions.map(async ({ id }) => store.publish(await loaded(store, id))))
      expect(most).toBeLessThan(11 * MiB)
      for (const i of newSessions.keys()) expect((await place.see(`${i}.bin`))?.bytes.equals(file)).toBe(true)
    })

    it('of a few bytes needs 3 service calls, however many came before', { timeout: 60_000 }, async () => {
      const place = await engine.open()
      const { service, callsSince } = countingService(place.service())
      const store = storeOn(service)
      const session = newSession({ maxSize: 2 ** 40 })
      await store.create(session)
      const costs: number[] = []
      callsSince()
      for (let i = 0; i < 100; i += 1) {
        const current = await loaded(store, session.id)
        await store.append(current, body(Buffer.alloc(100, i)), { total: 10_000, durable: false })
        costs.push(callsSince())
      }
      // Reading the record, writing the bytes and the record; sometimes tail objects are compacted.
      const usual = costs.slice(1).filter((cost) => cost === 3)
      expect(usual.length).toBeGreaterThanOrEqual(95)
      expect((await sessionKeys(place)).length).toBeLessThan(40)
      const after = await loaded(store, session.id)
      const expected = Buffer.concat(Array.from({ length: 100 }, (_, i) => Buffer.alloc(100, i)))
      expect((await readAll(store, after)).equals(expected)).toBe(true)
    })
  })
})
