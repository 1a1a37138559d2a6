import { describe } from 'vitest'
import { azuriteService, temporaryContainer } from '../../support/azurite.ts'
import { describeS3, s3Service, temporaryBucket } from '../../support/ceph.ts'
import type { Place } from './places.ts'

/** A suite that runs on each service. It gets a way to places of which nobody knows, each for one test. */
export function onEachService(name: string, suite: (newPlace: () => Promise<Place>) => void): void {
  describeS3(`${name}, over S3`, () => {
    suite(async () => ({ client: await s3Service(), bucket: (await temporaryBucket()).bucket }))
  })
  describe(`${name}, over Azure Blob Storage`, () => {
    suite(async () => {
      const { containerName } = await temporaryContainer()
      return { connection: await azuriteService(), container: containerName }
    })
  })
}
