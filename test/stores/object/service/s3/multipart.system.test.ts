import { CreateMultipartUploadCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3'
import { expect, it, onTestFinished } from 'vitest'
import { createS3Service } from '../../../../../lib/stores/object/service/s3/index.ts'
import { ConditionFailed } from '../../../../../lib/stores/object/service/service.ts'
import { describeS3, s3Service } from '../../../../support/ceph.ts'
import { put } from '../contract/fixture.ts'
import { type ProxyFixture, prefix, proxiedService, twoSources } from './fixture.ts'

/** The keys of all multipart uploads in progress. */
const uploads = async ({ client, bucket }: Pick<ProxyFixture, 'client' | 'bucket'>): Promise<string[]> => {
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
  return Uploads.map(({ Key = '' }) => Key)
}

describeS3('S3 multipart uploads', () => {
  it('are aborted when compose() fails', async () => {
    const fixture = await proxiedService()
    const { service, direct, requests } = fixture
    const sources = await twoSources(direct)
    const missing = { key: 'nowhere', size: service.minSourceBytes }
    await expect(service.compose([missing, ...sources], 'a')).rejects.toMatchObject({ name: 'ObjectMissing' })
    expect(requests.some(({ method }) => method === 'DELETE')).toBe(true)
    expect(await uploads(fixture)).toEqual([])
  })

  it('are aborted when the signal of compose() is aborted', async () => {
    const fixture = await proxiedService(({ url }) =>
      url.searchParams.get('partNumber') === '2' ? 'hold' : 'pass',
    )
    const { service, direct, held } = fixture
    const sources = await twoSources(direct)
    const controller = new AbortController()
    const composing = service.compose(sources, 'a', { signal: controller.signal })
    await held
    expect(await uploads(fixture)).toEqual([`${prefix}a`])
    controller.abort()
    await expect(composing).rejects.toMatchObject({ name: 'AbortError' })
    expect(await uploads(fixture)).toEqual([])
  })

  it('are aborted by abortUploads() below its prefix only, over several pages', {
    timeout: 120_000,
  }, async () => {
    const fixture = await proxiedService()
    const { direct, client, bucket } = fixture
    const begin = (key: string) =>
      client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
    const keys = Array.from({ length: 1_050 }, (_, i) => `a/ö+%2F ${i}`).values()
    const worker = async (): Promise<void> => {
      for (const key of keys) await begin(key)
    }
    await Promise.all(Array.from({ length: 16 }, worker))
    // One key may have several uploads.
    await begin('a/b')
    await begin('a/b')
    await begin('b')
    await direct.abortUploads('a/')
    expect(await uploads(fixture)).toEqual([`${prefix}b`])
    await direct.abortUploads('')
    expect(await uploads(fixture)).toEqual([])
  })

  it('replace no object that appears during the copy (condition: absent)', async () => {
    const { client, bucket, direct } = await proxiedService()
    const sources = await twoSources(direct)
    let copies = 0
    const proxiedClient = new S3Client(await s3Service())
    onTestFinished(() => proxiedClient.destroy())
    proxiedClient.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          if (commandName === 'UploadPartCopyCommand' && copies++ === 0) await put(direct, 'a', 'another')
          return next(args)
        },
      { step: 'initialize' },
    )
    const composing = createS3Service(proxiedClient, { bucket, prefix }).compose(sources, 'a', {
      condition: 'absent',
    })
    await expect(composing).rejects.toBeInstanceOf(ConditionFailed)
    expect((await direct.get('a'))?.bytes.toString()).toBe('another')
    expect(await uploads({ client, bucket })).toEqual([])
  })

  it('are aborted by abortUploads() for one key, not for longer keys that begin with it', async () => {
    const fixture = await proxiedService()
    const { direct, client, bucket } = fixture
    for (const key of ['log', 'log', 'log.txt', 'log/1']) {
      await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
    }
    await direct.abortUploads('log')
    expect(await uploads(fixture)).toEqual([`${prefix}log.txt`, `${prefix}log/1`])
  })
})
