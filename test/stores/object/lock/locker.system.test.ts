import { it } from 'vitest'
import { objectLocker } from '../../../../lib/stores/object/lock/locker.ts'
import { lockSection } from '../../../../lib/testing/lock.ts'
import { allEngines } from '../../../support/places.ts'
import { lockerFixture } from './farm.ts'

for (const engine of allEngines) {
  engine.describe(`Object locker on ${engine.name}: contract of Store.locker`, () => {
    for (const { title, run } of lockSection.tests) {
      it(title, async () => {
        const place = await engine.open()
        await run(...lockerFixture(() => objectLocker(place.service())))
      })
    }
  })
}
