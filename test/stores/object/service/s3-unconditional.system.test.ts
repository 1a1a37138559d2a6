import { describeS3 } from '../../../support/ceph.ts'
import { spaceSuite } from './contract.ts'
import { keeps, open } from './s3/tested.ts'

describeS3('S3 object service without conditional writes, and with required checksums only', () => {
  const checksums = 'WHEN_REQUIRED'
  const config = { requestChecksumCalculation: checksums, responseChecksumValidation: checksums } as const
  spaceSuite(() => open(config, false), keeps)
})
