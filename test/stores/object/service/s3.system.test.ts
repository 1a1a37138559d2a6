import { describeS3 } from '../../../support/ceph.ts'
import { spaceSuite } from './contract.ts'
import { keeps, open } from './s3/tested.ts'

describeS3('S3 object service with the default checksums of the SDK', () => {
  const checksums = 'WHEN_SUPPORTED'
  const config = { requestChecksumCalculation: checksums, responseChecksumValidation: checksums } as const
  spaceSuite(() => open(config, true), keeps)
})
