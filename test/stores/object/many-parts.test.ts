import { describe, it } from 'vitest'
import { type Bucket, memoryObjectSpace } from '../../support/memory-object-service.ts'
import { maxSources, uploadManyParts } from './many-parts.ts'

describe.each(['Azure', 'S3'] as const)('Object store on a service in memory (%s semantics)', (semantics) => {
  describe('upload with more parts than one join takes', () => {
    it('is published with all bytes after every second join failed', async () => {
      const bucket: Bucket = new Map()
      const space = memoryObjectSpace({ bucket, semantics, maxSources })
      await uploadManyParts(space, 64 * 1024, {
        keys: async () => [...bucket.keys()],
        bytesOf: async (key) => bucket.get(key)?.bytes,
      })
    })
  })
})
