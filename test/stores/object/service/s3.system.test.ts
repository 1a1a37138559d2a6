import { describeS3 } from '../../../support/ceph.ts'
import { serviceSuite } from './contract.ts'
import { cephCapabilities, s3Fixture } from './s3/fixture.ts'

describeS3('S3 object service with the default checksums of the SDK', () => {
  const checksums = 'WHEN_SUPPORTED'
  const config = { requestChecksumCalculation: checksums, responseChecksumValidation: checksums } as const
  serviceSuite(() => s3Fixture(config, true), cephCapabilities)
})
