import { describe } from 'vitest'
import { type Bucket, memoryObjectService } from '../../../support/memory-object-service.ts'
import { serviceSuite } from './contract.ts'

describe.each(['Azure', 'S3'] as const)('In-memory object service (%s semantics)', (semantics) => {
  serviceSuite(async () => {
    const bucket: Bucket = new Map()
    const below = (prefix: string) => memoryObjectService({ bucket, prefix, semantics })
    return {
      service: below(''),
      below,
      contentType: async (key) => bucket.get(key)?.attributes.contentType,
    }
  })
})
