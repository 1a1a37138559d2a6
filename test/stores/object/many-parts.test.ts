import { describe, it } from 'vitest'
import { type Bucket, memoryObjectService } from '../../support/memory-object-service.ts'
import { maxSources, uploadManyParts } from './many-parts.ts'

describe.each(['Azure', 'S3'] as const)('Object store on a service in memory (%s semantics)', (semantics) => {
  describe('upload with more parts than one compose call accepts', () => {
    it('is published with all bytes although every second compose call failed', async () => {
      const bucket: Bucket = new Map()
      const service = memoryObjectService({ bucket, semantics, maxSources })
      await uploadManyParts(service, 64 * 1024, {
        keys: async () => [...bucket.keys()],
        bytesOf: async (key) => bucket.get(key)?.bytes,
      })
    })
  })
})
