import { describeS3 } from '../../../support/ceph.ts'
import { serviceSuite } from './contract.ts'
import { cephCapabilities, s3Fixture } from './s3/fixture.ts'

describeS3('S3 object service without conditional writes, and with required checksums only', () => {
  const checksums = 'WHEN_REQUIRED'
  const config = { requestChecksumCalculation: checksums, responseChecksumValidation: checksums } as const
  serviceSuite(() => s3Fixture(config, false), { ...cephCapabilities, checksCompletion: true })
})
