import { describe, it } from 'vitest'
import { mapStore } from '../../examples/stores/map-store.ts'
import { storeSuite } from '../../lib/testing/index.ts'
import { memoryCapabilities } from './fixtures.ts'

const open = () => {
  const files = new Map<string, Buffer>()
  return {
    store: mapStore(files),
    published: async (name: string, first = 0) => files.get(name)?.subarray(first),
  }
}

describe('the complete store of lib/stores/README.md', () => {
  storeSuite({ describe, it }, open, memoryCapabilities)
})
