import { randomUUID } from 'node:crypto'
import { CreateBucketCommand, DeleteBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { expect, it } from 'vitest'
import { createS3Service } from '../../../../../lib/stores/object/service/s3/index.ts'
import { describeS3, s3Service, temporaryBucket } from '../../../../support/ceph.ts'
import { keysOf, put } from '../contract/fixture.ts'
import type { FakeResponse, ProxiedRequest, ProxyAction } from './fault-proxy.ts'
import { proxiedService } from './fixture.ts'

const done: FakeResponse = { status: 200, headers: { etag: '"0123456789abcdef"' } }
const failed: FakeResponse = { status: 412, code: 'PreconditionFailed' }

/** Treats requests with a condition as `action` says; all others pass. */
const ifConditional =
  (header: 'if-match' | 'if-none-match', action: (value: string) => ProxyAction) =>
  ({ headers }: ProxiedRequest): ProxyAction => {
    const value = headers[header]
    return value ? action(value) : 'pass'
  }

describeS3('S3 prepare()', () => {
  it('sends its requests only once', async () => {
    const { service, requests } = await proxiedService()
    await Promise.all([service.prepare(), service.prepare()])
    const { length } = requests
    await service.prepare()
    const version = await put(service, 'a')
    await service.put('a', [Buffer.from('b')], { condition: { version } })
    expect(requests).toHaveLength(length + 2)
  })

  it('is optional: put() with a version works without it', async () => {
    const { service } = await proxiedService()
    const version = await put(service, 'a')
    await service.put('a', [Buffer.from('b')], { condition: { version } })
    expect(await keysOf(service)).toEqual(['a'])
  })

  it('detects that the service requires versions in quotes', async () => {
    let count = 0
    const quoted = ifConditional('if-match', (value) => {
      if (!/^".*"$/.test(value)) return failed
      count += 1
      return count === 2 ? failed : done
    })
    const { service, requests } = await proxiedService(quoted)
    await service.put('a', [Buffer.from('b')], { condition: { version: 'abc' } })
    expect(requests.at(-1)?.headers['if-match']).toBe('"abc"')
  })

  it.each([
    ['If-None-Match', ifConditional('if-none-match', () => done)],
    ['If-Match', ifConditional('if-match', () => done)],
    ['If-Match', ifConditional('if-match', () => failed)],
  ])('rejects when the service lacks %s, and suggests conditionalWrites: false', async (header, action) => {
    const { service, direct, bucket } = await proxiedService(action)
    const error = await service.prepare().catch((error) => error)
    expect(error.message).toContain(bucket)
    expect(error.message).toContain(header)
    expect(error.message).toContain('conditionalWrites: false')
    expect(await keysOf(direct)).toEqual([])
  })

  it('sends no condition when conditionalWrites is false, nor do the other calls', async () => {
    const { service, requests } = await proxiedService(() => 'pass', { conditionalWrites: false })
    await service.prepare()
    const version = await service.put('a', [Buffer.from('1')], { condition: 'absent' })
    await service.put('a', [Buffer.from('2')], { condition: { version } })
    const { id } = await service.createUpload('b')
    const tag = await service.copyPart('b', { upload: id, number: 1 }, { key: 'a', size: 1 })
    await service.completeUpload('b', id, [tag], { condition: 'absent' })
    const conditions = requests.filter(({ headers }) => headers['if-match'] ?? headers['if-none-match'])
    expect(conditions).toEqual([])
  })

  it('names a missing bucket, and resolves once the bucket exists', async () => {
    const { client } = await temporaryBucket()
    const name = `late-${randomUUID()}`
    const service = createS3Service(client, { bucket: name })
    const error = await service.prepare().catch((error) => error)
    expect(error.message).toContain(name)
    expect(error.cause).toMatchObject({ name: 'NoSuchBucket' })
    await client.send(new CreateBucketCommand({ Bucket: name }))
    await service.prepare()
    await put(service, 'without prefix')
    expect(await keysOf(service)).toEqual(['without prefix'])
    await service.remove(['without prefix'])
    await client.send(new DeleteBucketCommand({ Bucket: name }))
  })

  it('names the bucket and InvalidAccessKeyId when the credentials are invalid', async () => {
    const { bucket } = await temporaryBucket()
    const credentials = { accessKeyId: 'unknown', secretAccessKey: 'x' }
    const client = new S3Client({ ...(await s3Service()), credentials })
    const error = await createS3Service(client, { bucket })
      .prepare()
      .catch((error) => error)
    expect(error.message).toContain(bucket)
    expect(error.message).toContain('InvalidAccessKeyId')
    expect(error.cause).toMatchObject({ name: 'InvalidAccessKeyId' })
  })
})
