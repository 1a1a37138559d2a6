import { expect, it } from 'vitest'
import { defaultTiming, type Timing } from '../../../../lib/stores/object/lock/heartbeat.ts'
import { objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import { allEngines } from '../../../support/places.ts'
import { holderIn } from './farm.ts'
import { holderProcess } from './holder-process.ts'

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
    it('are acquired after SIGKILL when the heartbeat has not changed for the failure timeout', async () => {
      const place = await engine.open()
      const holder = await holderProcess(place, quick, 'a')
      const waiting = objectLocker(place.service(), quick).acquire('a')
      await holder.received('requested')
      holder.signal('SIGKILL')
      await holder.ended
      const killed = performance.now()
      await (await waiting).release()
      // The last heartbeat was sent up to one interval before, and read at once or later.
      expect(performance.now() - killed).toBeGreaterThan(quick.failureTimeout / 2)
    })

    it('are not taken back after SIGSTOP and SIGCONT when they were taken over', async () => {
      const place = await engine.open()
      const holder = await holderProcess(place, quick, 'a')
      holder.signal('SIGSTOP')
      const lock = await objectLocker(place.service(), quick).acquire('a')
      const current = await holderIn(place.service(), 'a')
      holder.signal('SIGCONT')
      await holder.received('requested')
      holder.send('release')
      await holder.received('released')
      expect(await holderIn(place.service(), 'a')).toEqual(current)
      expect(await objectLocker(place.service(), quick).tryAcquire('a')).toBeUndefined()
      await lock.release()
    })

    it('do not keep that process alive', async () => {
      const holder = await holderProcess(await engine.open(), defaultTiming, 'a')
      holder.send('end')
      expect(await holder.ended).toBe(0)
    })
  })
}
