import { randomUUID } from 'node:crypto'
import { CreateBucketCommand, DeleteBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { expect, it } from 'vitest'
import { createS3Service } from '../../../../../lib/stores/object/service/s3/index.ts'
import { describeS3, s3Service, temporaryBucket } from '../../../../support/ceph.ts'
import { keysOf, put } from '../contract/tested.ts'
import type { Fate, Instead, Seen } from './meddler.ts'
import { behind } from './setting.ts'

const done: Instead = { status: 200, headers: { etag: '"0123456789abcdef"' } }
const failed: Instead = { status: 412, code: 'PreconditionFailed' }

const onlyOnce =
  (header: 'if-match' | 'if-none-match', fate: (value: string) => Fate) =>
  ({ headers }: Seen): Fate => {
    const value = headers[header]
    return value ? fate(value) : 'pass'
  }

describeS3('S3 prepare()', () => {
  it('sends its requests only once', async () => {
    const { space, seen } = await behind()
    await Promise.all([space.prepare(), space.prepare()])
    const { length } = seen
    await space.prepare()
    const version = await put(space, 'a')
    await space.put('a', [Buffer.from('b')], { condition: { version } })
    expect(seen).toHaveLength(length + 2)
  })

  it('is optional: put() with a version works without it', async () => {
    const { space } = await behind()
    const version = await put(space, 'a')
    await space.put('a', [Buffer.from('b')], { condition: { version } })
    expect(await keysOf(space)).toEqual(['a'])
  })

  it('detects that the service requires versions in quotes', async () => {
    let count = 0
    const quoted = onlyOnce('if-match', (value) => {
      if (!/^".*"$/.test(value)) return failed
      count += 1
      return count === 2 ? failed : done
    })
    const { space, seen } = await behind(quoted)
    await space.put('a', [Buffer.from('b')], { condition: { version: 'abc' } })
    expect(seen.at(-1)?.headers['if-match']).toBe('"abc"')
    await space.removeIfVersion('a', 'abc')
    expect(seen.at(-1)?.headers['if-match']).toBe('"abc"')
  })

  it.each([
    ['If-None-Match', onlyOnce('if-none-match', () => done)],
    ['If-Match', onlyOnce('if-match', () => done)],
    ['If-Match', onlyOnce('if-match', () => failed)],
  ])('rejects when the service lacks %s, and suggests conditionalWrites: false', async (header, fate) => {
    const { space, direct, bucket } = await behind(fate)
    const error = await space.prepare().catch((error) => error)
    expect(error.message).toContain(bucket)
    expect(error.message).toContain(header)
    expect(error.message).toContain('conditionalWrites: false')
    expect(await keysOf(direct)).toEqual([])
  })

  it('sends no condition when conditionalWrites is false, nor do the other calls', async () => {
    const { space, seen } = await behind(() => 'pass', { conditionalWrites: false })
    await space.prepare()
    const version = await space.put('a', [Buffer.from('1')], { condition: 'absent' })
    await space.put('a', [Buffer.from('2')], { condition: { version } })
    const next = await space.head('a')
    await space.compose([{ key: 'a', size: 1 }], 'b', { condition: 'absent' })
    await space.removeIfVersion('a', next?.version ?? '')
    const conditions = seen.filter(({ headers }) => headers['if-match'] ?? headers['if-none-match'])
    expect(conditions).toEqual([])
  })

  it('names a missing bucket, and resolves once the bucket exists', async () => {
    const { client } = await temporaryBucket()
    const name = `late-${randomUUID()}`
    const space = createS3Service(client, { bucket: name })
    const error = await space.prepare().catch((error) => error)
    expect(error.message).toContain(name)
    expect(error.cause).toMatchObject({ name: 'NoSuchBucket' })
    await client.send(new CreateBucketCommand({ Bucket: name }))
    await space.prepare()
    await put(space, 'without prefix')
    expect(await keysOf(space)).toEqual(['without prefix'])
    await space.remove(['without prefix'])
    await client.send(new DeleteBucketCommand({ Bucket: name }))
  })

  it('names the bucket and InvalidAccessKeyId when the credentials are invalid', async () => {
    const { bucket } = await temporaryBucket()
    const credentials = { accessKeyId: 'nobody', secretAccessKey: 'x' }
    const client = new S3Client({ ...(await s3Service()), credentials })
    const error = await createS3Service(client, { bucket })
      .prepare()
      .catch((error) => error)
    expect(error.message).toContain(bucket)
    expect(error.message).toContain('InvalidAccessKeyId')
    expect(error.cause).toMatchObject({ name: 'InvalidAccessKeyId' })
  })
})
