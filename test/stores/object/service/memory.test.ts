import { describe } from 'vitest'
import { type Bucket, memoryObjectSpace } from '../../../support/memory-object-service.ts'
import { spaceSuite } from './contract.ts'

describe.each(['Azure', 'S3'] as const)('In-memory object service (%s semantics)', (semantics) => {
  spaceSuite(
    async () => {
      const bucket: Bucket = new Map()
      const below = (prefix: string) => memoryObjectSpace({ bucket, prefix, semantics })
      return {
        space: below(''),
        below,
        contentType: async (key) => bucket.get(key)?.description.contentType,
      }
    },
    { removeIf: semantics === 'Azure' },
  )
})
