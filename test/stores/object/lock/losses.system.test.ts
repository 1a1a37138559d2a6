/** Failed requests and the end of an idle node over real services; losses.test.ts has all cases over one in memory. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { defaultTiming, type Timing } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import { allEngines, type Place } from '../../../support/places.ts'
import { findHolder, holderIn } from './setting.ts'
import { answerLost, unreachable, watchedSpace } from './watched-service.ts'

/**
 * Short intervals, because these tests wait in real time. The failure timeout is that of production: no test waits for
 * it, and on a slow machine heartbeats must not miss it.
 */
const quick: Timing = {
  ...defaultTiming,
  heartbeatInterval: 200,
  idleTtl: 200,
  releasePollInterval: 50,
  poll: [20, 100],
}

/** A locker as in its own process. */
const newNode = (place: Place) => {
  const space = watchedSpace(place.space())
  return { space, locker: objectLocker(space, quick) }
}

for (const engine of allEngines) {
  engine.describe(`Object locker on ${engine.name}`, () => {
    it('acquires a lock that was written although the answer was lost', async () => {
      const place = await engine.open()
      const [one, other] = [newNode(place), newNode(place)]
      one.space.intercept(/^put locks/, answerLost)
      const lock = await one.locker.acquire('a')
      await holderIn(place.space(), 'a')
      expect(await other.locker.tryAcquire('a')).toBeUndefined()
      await lock.release()
      expect(await findHolder(place.space(), 'a')).toBeUndefined()
    })

    it('releases a lock whose removal failed when it is requested', async () => {
      const place = await engine.open()
      const [one, other] = [newNode(place), newNode(place)]
      // The node stays alive: otherwise its locks are free after the linger time.
      const b = await one.locker.acquire('b')
      for (const next of [one, other]) {
        const lock = await one.locker.acquire('a')
        one.space.intercept(/^remove locks/, unreachable)
        await lock.release()
        const left = await holderIn(place.space(), 'a')
        one.space.restore()
        const begun = performance.now()
        const again = await next.locker.acquire('a')
        expect(performance.now() - begun).toBeLessThan(quick.failureTimeout)
        expect(await holderIn(place.space(), 'a')).not.toEqual(left)
        await again.release()
      }
      expect(other.space.requests.filter((request) => request.startsWith('put wants'))).toHaveLength(1)
      await b.release()
    })

    it('keeps no objects and sends no requests after the linger time of an idle node', async () => {
      const place = await engine.open()
      const { space, locker } = newNode(place)
      const heartbeats = () => space.requests.filter((request) => request.startsWith('put nodes')).length
      const lock = await locker.acquire('a')
      await vi.waitUntil(() => heartbeats() > 2, { timeout: 10_000 })
      await lock.release()
      const isSilent = async (): Promise<boolean> => {
        const before = space.requests.length
        await delay(5 * quick.heartbeatInterval)
        return space.requests.length === before
      }
      await vi.waitUntil(isSilent, { timeout: 15_000 })
      expect(await place.keys()).toEqual([])
    })
  })
}
