import { expect, it } from 'vitest'
import { defaultTiming, type Timing } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import { allEngines } from '../../../support/places.ts'
import { holderProcess } from './process.ts'
import { holderIn } from './setting.ts'

/** A fifth of the production failure timeout, because these tests wait in real time. */
const quick: Timing = {
  heartbeatInterval: 200,
  failureTimeout: 2000,
  idleTtl: 200,
  releasePollInterval: 50,
  poll: [20, 100],
}

for (const engine of allEngines) {
  engine.describe(`Object locks of another process on ${engine.name}`, () => {
    it('are acquired after SIGKILL when the heartbeat stood still for the failure timeout', async () => {
      const place = await engine.open()
      const holder = await holderProcess(place, quick, 'a')
      const waiting = objectLocker(place.space(), quick).acquire('a')
      await holder.received('wanted')
      holder.signal('SIGKILL')
      await holder.ended
      const killed = performance.now()
      await (await waiting).release()
      // The last heartbeat was sent up to one interval before, and seen at once or later.
      expect(performance.now() - killed).toBeGreaterThan(quick.failureTimeout / 2)
    })

    it('are not taken back after SIGSTOP and SIGCONT when they were taken over', async () => {
      const place = await engine.open()
      const holder = await holderProcess(place, quick, 'a')
      holder.signal('SIGSTOP')
      const lock = await objectLocker(place.space(), quick).acquire('a')
      const taken = await holderIn(place.space(), 'a')
      holder.signal('SIGCONT')
      await holder.received('wanted')
      holder.send('release')
      await holder.received('released')
      expect(await holderIn(place.space(), 'a')).toEqual(taken)
      expect(await objectLocker(place.space(), quick).tryAcquire('a')).toBeUndefined()
      await lock.release()
    })

    it('do not keep that process alive', async () => {
      const holder = await holderProcess(await engine.open(), defaultTiming, 'a')
      holder.send('end')
      expect(await holder.ended).toBe(0)
    })
  })
}
