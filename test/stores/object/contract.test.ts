/**
 * The contract of stores for the object store over a service in memory. contract.system.test.ts runs it over
 * real ones.
 */
import { describe, it } from 'vitest'
import { objectStore, readObjectStoreOptions } from '../../../lib/stores/object/options.ts'
import { type StoreFixture, storeSuite } from '../../../lib/testing/index.ts'
import { memoryObjectService } from '../../support/memory-object-service.ts'
import { capabilities } from './fixture.ts'

function memoryFixture(semantics: 'Azure' | 'S3'): StoreFixture {
  const service = memoryObjectService({ semantics })
  const options = readObjectStoreOptions('the test', {}, [])
  const reopen = () => objectStore(service, options)
  return {
    store: reopen(),
    reopen,
    async published(name, first = 0) {
      return (await service.get(name))?.bytes.subarray(first)
    },
    async loseBytes({ id }) {
      const keys: string[] = []
      for await (const { key } of service.list(`.bits-sessions/uploads/${id}/bytes/`)) keys.push(key)
      await service.remove(keys)
    },
  }
}

describe.each(['Azure', 'S3'] as const)('Object store on a service in memory (%s semantics)', (semantics) => {
  storeSuite({ describe, it }, () => memoryFixture(semantics), capabilities)
})
