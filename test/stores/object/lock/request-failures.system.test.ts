/**
 * Failed requests and the end of an idle node over real services; request-failures.test.ts has all tests over
 * one in memory.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { defaultTiming, type Timing } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import { allEngines, type Place } from '../../../support/places.ts'
import { findHolder, holderIn } from './farm.ts'
import { recordingService, responseLost, unreachable } from './recording-service.ts'

/**
 * Short intervals, because these tests wait in real time. The failure timeout is that of production: no test
 * waits for it, and on a slow machine heartbeats must not miss it.
 */
const quick: Timing = {
  ...defaultTiming,
  heartbeatInterval: 200,
  idleTtl: 200,
  releasePollInterval: 50,
  poll: [20, 100],
}

/** The locker of one process. */
const newNode = (place: Place) => {
  const service = recordingService(place.service())
  return { service, locker: objectLocker(service, quick) }
}

for (const engine of allEngines) {
  engine.describe(`Object locker on ${engine.name}`, () => {
    it('acquires a lock that was written although the response was lost', async () => {
      const place = await engine.open()
      const [one, other] = [newNode(place), newNode(place)]
      one.service.intercept(/^put locks/, responseLost)
      const lock = await one.locker.acquire('a')
      await holderIn(place.service(), 'a')
      expect(await other.locker.tryAcquire('a')).toBeUndefined()
      await lock.release()
      expect(await findHolder(place.service(), 'a')).toBeUndefined()
    })

    it('releases a lock whose removal failed when it is requested', async () => {
      const place = await engine.open()
      const [one, other] = [newNode(place), newNode(place)]
      // The node stays alive: otherwise its locks are free after the idle TTL.
      const b = await one.locker.acquire('b')
      for (const next of [one, other]) {
        const lock = await one.locker.acquire('a')
        one.service.intercept(/^remove locks/, unreachable)
        await lock.release()
        const remaining = await holderIn(place.service(), 'a')
        one.service.restore()
        const start = performance.now()
        const again = await next.locker.acquire('a')
        expect(performance.now() - start).toBeLessThan(quick.failureTimeout)
        expect(await holderIn(place.service(), 'a')).not.toEqual(remaining)
        await again.release()
      }
      expect(other.service.requests.filter((request) => request.startsWith('put wants'))).toHaveLength(1)
      await b.release()
    })

    it('keeps no objects and sends no requests after the idle TTL of an idle node', async () => {
      const place = await engine.open()
      const { service, locker } = newNode(place)
      const heartbeats = () => service.requests.filter((request) => request.startsWith('put nodes')).length
      const lock = await locker.acquire('a')
      await vi.waitUntil(() => heartbeats() > 2, { timeout: 10_000 })
      await lock.release()
      const isSilent = async (): Promise<boolean> => {
        const before = service.requests.length
        await delay(5 * quick.heartbeatInterval)
        return service.requests.length === before
      }
      await vi.waitUntil(isSilent, { timeout: 15_000 })
      expect(await place.keys()).toEqual([])
    })
  })
}
