/** The contract of stores for the object store, over a service in memory; contract.system.test.ts has it over real ones. */
import { describe, it } from 'vitest'
import { defaultTiming } from '../../../lib/stores/object/lock/heartbeat.ts'
import { objectLocker } from '../../../lib/stores/object/lock/locker.ts'
import { objectStore, readObjectStoreOptions } from '../../../lib/stores/object/options.ts'
import { type StoreFixture, storeSuite } from '../../../lib/testing/index.ts'
import { memoryObjectSpace } from '../../support/memory-object-service.ts'
import { supports } from './tested.ts'

/** Release requests are looked for more often, because some tests wait for one. */
const timing = { ...defaultTiming, wants: 10, poll: [5, 20] } as const

function tested(semantics: 'Azure' | 'S3'): StoreFixture {
  const space = memoryObjectSpace({ semantics })
  const options = readObjectStoreOptions('the test', {}, [])
  const reopen = () => objectStore(space, options, { locker: objectLocker(space, timing), isShared: true })
  return {
    store: reopen(),
    reopen,
    async published(name, first = 0) {
      return (await space.get(name))?.bytes.subarray(first)
    },
    async loseBytes({ id }) {
      const keys: string[] = []
      for await (const { key } of space.list(`.bits-sessions/uploads/${id}/bytes/`)) keys.push(key)
      await space.remove(keys)
    },
  }
}

describe.each(['Azure', 'S3'] as const)('Object store on a service in memory (%s semantics)', (semantics) => {
  storeSuite({ describe, it }, () => tested(semantics), supports)
})
