import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { S3Client } from '@aws-sdk/client-s3'
import { expect, it } from 'vitest'
import { createS3Service } from '../../../../../lib/stores/object/service/s3/index.ts'
import { noise } from '../../../../support/bytes.ts'
import { describeS3 } from '../../../../support/ceph.ts'
import { assertBytes } from '../contract/fixture.ts'
import { actionsFor, proxiedService } from './fixture.ts'

const bytes = noise(3_000_000)
const chunks = Array.from({ length: 30 }, (_, i) => bytes.subarray(i * 100_000, (i + 1) * 100_000))

const isPut = ({ method }: { readonly method: string }): boolean => method === 'PUT'

describeS3('S3 bodies of several chunks', () => {
  it.each(['lose', 'lose response', { status: 500, code: 'InternalError' }] as const)(
    'are sent again completely after a failed request (%j)',
    async (action) => {
      const { service, direct, requests } = await proxiedService(actionsFor(isPut, action, 'pass', action))
      await service.put('a', chunks)
      assertBytes((await direct.get('a'))?.bytes, bytes)
      const { id } = await service.createUpload('b')
      const tag = await service.putPart('b', { upload: id, number: 1 }, chunks)
      await service.completeUpload('b', id, [tag])
      assertBytes((await direct.get('b'))?.bytes, bytes)
      expect(requests.filter(isPut)).toHaveLength(4)
    },
  )

  it.each(['WHEN_REQUIRED', 'WHEN_SUPPORTED'] as const)(
    'are signed over http, and have the checksum that the client is configured for (%s)',
    async (requestChecksumCalculation) => {
      const { service, direct, requests } = await proxiedService(
        () => 'pass',
        {},
        { requestChecksumCalculation },
      )
      await service.put('a', chunks)
      assertBytes((await direct.get('a'))?.bytes, bytes)
      const headers = requests.find(isPut)?.headers
      expect(headers?.['x-amz-content-sha256']).toBe(createHash('sha256').update(bytes).digest('hex'))
      expect(headers?.['content-length']).toBe('3000000')
      expect(headers?.['transfer-encoding']).toBeUndefined()
      const checksum = Buffer.alloc(4)
      checksum.writeUInt32BE(crc32(bytes))
      expect(headers?.['x-amz-checksum-crc32']).toBe(
        requestChecksumCalculation === 'WHEN_SUPPORTED' ? checksum.toString('base64') : undefined,
      )
    },
  )

  it('are not part of the signature over https', async () => {
    const hashes: unknown[] = []
    const client = new S3Client({
      region: 'eu-central-1',
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
      requestHandler: {
        async handle({ headers }: { headers: Record<string, string> }) {
          hashes.push(headers['x-amz-content-sha256'])
          throw new Error('not sent')
        },
      },
    })
    const service = createS3Service(client, { bucket: 'bucket' })
    await expect(service.put('a', chunks)).rejects.toThrow('not sent')
    expect(hashes[0]).toBe('UNSIGNED-PAYLOAD')
    hashes.length = 0
    await expect(service.put('a', chunks.slice(0, 1))).rejects.toThrow('not sent')
    expect(hashes[0]).toBe(
      createHash('sha256')
        .update(chunks[0] as Buffer)
        .digest('hex'),
    )
  })

  it('end their request when the signal is aborted', async () => {
    const { service, held, abandoned } = await proxiedService(() => 'hold')
    const controller = new AbortController()
    const putting = service.put('a', chunks, { signal: controller.signal })
    await held
    controller.abort()
    await expect(putting).rejects.toMatchObject({ name: 'AbortError' })
    await abandoned
  })
})
