import { CreateMultipartUploadCommand } from '@aws-sdk/client-s3'
import { expect, it } from 'vitest'
import type { ObjectService, PutOptions } from '../../../../../lib/stores/object/service/service.ts'
import { describeS3 } from '../../../../support/ceph.ts'
import { all, keysOf, put, textOf } from '../contract/fixture.ts'
import type { FakeResponse, ProxiedRequest, ProxyAction } from './fault-proxy.ts'
import { actionsFor, isCompletion, isHead, prefix, proxiedService } from './fixture.ts'

const uploadMissing: FakeResponse = { status: 404, code: 'NoSuchUpload' }
const conflict: FakeResponse = { status: 409, code: 'ConditionalRequestConflict' }
const failed: FakeResponse = { status: 412, code: 'PreconditionFailed' }
const internalError: FakeResponse = { status: 500, code: 'InternalError' }

const errorBody = (code: string): string => `<?xml version="1.0"?>\n<Error><Code>${code}</Code></Error>`
/** The SDK repeats a request with such a response, whatever the code is, 2 times. */
const errorWith200 = (code: string): FakeResponse => ({ status: 200, body: errorBody(code) })

const isCreation = ({ method, url }: ProxiedRequest): boolean =>
  method === 'POST' && url.searchParams.has('uploads')

const isPart = ({ method, url }: ProxiedRequest): boolean =>
  method === 'PUT' && url.searchParams.has('partNumber')

/** Begins an upload of "mine" to `a`. Returns a function that completes it. */
async function uploadTo(service: ObjectService): Promise<(options?: PutOptions) => Promise<void>> {
  const { id } = await service.createUpload('a')
  const tag = await service.putPart('a', { upload: id, number: 1 }, [Buffer.from('mine')])
  return (options) => service.completeUpload('a', id, [tag], options)
}

/** A service whose completions of `a` are treated by these actions, one each. */
const completionFixture = (...actions: readonly ProxyAction[]) =>
  proxiedService(
    actionsFor((request) => isCompletion(request) && request.url.pathname.endsWith('/a'), ...actions),
  )

describeS3('S3 createUpload() and putPart() with a lost response', () => {
  it('isRepeated is true, because another upload exists', async () => {
    const { service, direct } = await proxiedService(actionsFor(isCreation, 'lose response'))
    const { id, isRepeated } = await service.createUpload('a')
    expect(isRepeated).toBe(true)
    const ids = (await all(direct.listUploads(''))).map((upload) => upload.id)
    expect(ids).toHaveLength(2)
    expect(ids).toContain(id)
    expect((await service.createUpload('b')).isRepeated).toBe(false)
  })

  it('the part is written again', async () => {
    const { service, direct, requests } = await proxiedService(actionsFor(isPart, 'lose response'))
    const complete = await uploadTo(service)
    expect(requests.filter(isPart)).toHaveLength(2)
    await complete()
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('rejects when the response has no ETag, also for a copy', async () => {
    const body = '<CopyPartResult></CopyPartResult>'
    const { service, direct } = await proxiedService((request) =>
      isPart(request) ? { status: 200, body } : 'pass',
    )
    await put(direct, 's')
    const { id } = await service.createUpload('a')
    const part = { upload: id, number: 1 }
    await expect(service.putPart('a', part, [])).rejects.toThrow('did not report')
    await expect(service.copyPart('a', part, { key: 's', size: 1 })).rejects.toThrow('did not report')
  })
})

describeS3('S3 completeUpload() with a lost response', () => {
  it('rejects with UploadMissing, and the object exists', async () => {
    const { service, direct, requests } = await completionFixture('lose response', uploadMissing)
    const complete = await uploadTo(service)
    await expect(complete({ condition: 'absent' })).rejects.toMatchObject({ name: 'UploadMissing' })
    expect(requests.filter(isCompletion)).toHaveLength(3)
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('rejects with UploadMissing when the service returns InternalError and the upload is gone', async () => {
    const { service, direct } = await completionFixture('lose response', internalError, internalError)
    const complete = await uploadTo(service)
    await expect(complete()).rejects.toMatchObject({ name: 'UploadMissing' })
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('rejects with InternalError when the upload still exists, and can be repeated', async () => {
    const { service, direct } = await completionFixture(internalError, internalError, internalError)
    const complete = await uploadTo(service)
    await expect(complete()).rejects.toMatchObject({ name: 'InternalError' })
    await complete()
    expect(await textOf(direct, 'a')).toBe('mine')
  })
})

describeS3('S3 completeUpload() with a concurrent request', () => {
  it('is sent again after 409 ConditionalRequestConflict', async () => {
    const { service, direct } = await completionFixture(conflict)
    const complete = await uploadTo(service)
    await complete({ condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('rejects with UploadMissing after two conflicts, or when the upload is missing after the first', async () => {
    for (const second of [conflict, uploadMissing]) {
      const { service, direct } = await completionFixture(conflict, second)
      const complete = await uploadTo(service)
      await expect(complete({ condition: 'absent' })).rejects.toMatchObject({ name: 'UploadMissing' })
      expect(await direct.head('a')).toBeUndefined()
    }
  })

  it('rejects with ConditionFailed after 412', async () => {
    const { service } = await completionFixture(failed)
    const complete = await uploadTo(service)
    await expect(complete({ condition: 'absent' })).rejects.toMatchObject({ name: 'ConditionFailed' })
  })
})

describeS3('S3 completeUpload() with status 200 and no result', () => {
  it('is sent again when the body has InternalError', async () => {
    const { service, direct } = await completionFixture(errorWith200('InternalError'))
    const complete = await uploadTo(service)
    await complete()
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it.each([
    ['PreconditionFailed', 'ConditionFailed'],
    ['NoSuchUpload', 'UploadMissing'],
    ['InvalidPart', 'PartsChanged'],
    ['InvalidPartOrder', 'PartsChanged'],
    ['AccessDenied', 'AccessDenied'],
  ])('rejects when the body has %s', async (code, name) => {
    const { service, direct } = await completionFixture(...Array(3).fill(errorWith200(code)))
    const complete = await uploadTo(service)
    await expect(complete({ condition: 'absent' })).rejects.toMatchObject({ name })
    expect(await direct.head('a')).toBeUndefined()
  })

  it('rejects when the body is unknown', async () => {
    const unknown: FakeResponse = { status: 200, body: `${errorBody('InternalError')}\n` }
    const { service } = await completionFixture(unknown)
    const complete = await uploadTo(service)
    await expect(complete()).rejects.toThrow('did not report')
  })

  it('rejects copyPart() when the body has NoSuchUpload or NoSuchKey', async () => {
    const bodies = ['NoSuchUpload', 'NoSuchKey'].flatMap((code) => Array(3).fill(errorWith200(code)))
    const { service, direct } = await proxiedService(actionsFor(isPart, ...bodies))
    await put(direct, 's')
    const { id } = await service.createUpload('a')
    const copy = () => service.copyPart('a', { upload: id, number: 1 }, { key: 's', size: 1 })
    await expect(copy()).rejects.toMatchObject({ name: 'UploadMissing' })
    await expect(copy()).rejects.toMatchObject({ name: 'ObjectMissing' })
  })
})

describeS3('S3 checksCompletion', () => {
  /** Refuses completions with a condition, as Amazon S3 does when an object exists. */
  const refusal = (response: FakeResponse) => (request: ProxiedRequest) =>
    isCompletion(request) && request.headers['if-none-match'] ? response : 'pass'

  it('is true where the service refuses a completion; prepare() leaves nothing', async () => {
    const { service, direct } = await proxiedService(refusal(failed))
    await service.prepare()
    expect(service.checksCompletion).toBe(true)
    expect(await keysOf(direct)).toEqual([])
    expect(await all(direct.listUploads(''))).toEqual([])
  })

  it.each([
    { status: 501, code: 'NotImplemented' },
    { status: 400, code: 'InvalidArgument' },
  ])('is false where the service returns $code; prepare() leaves nothing', async (response) => {
    const { service, direct } = await proxiedService(refusal(response))
    await service.prepare()
    expect(service.checksCompletion).toBe(false)
    expect(await keysOf(direct)).toEqual([])
    expect(await all(direct.listUploads(''))).toEqual([])
  })

  it('is not determined after another error: prepare() rejects, and leaves nothing', async () => {
    const denied: FakeResponse = { status: 403, code: 'AccessDenied' }
    for (const matches of [isCreation, isPart, isCompletion]) {
      const { service, direct, bucket } = await proxiedService(actionsFor(matches, denied))
      await expect(service.prepare()).rejects.toThrow(`${bucket} cannot be used: AccessDenied`)
      expect(await keysOf(direct)).toEqual([])
      expect(await all(direct.listUploads(''))).toEqual([])
      await service.prepare()
    }
  })

  it('sends conditions of completions only where it is true, even without prepare()', async () => {
    const conditionsOf = async (action: (request: ProxiedRequest) => ProxyAction) => {
      const { service, requests } = await proxiedService(action)
      const version = await put(service, 'a', 'old')
      for (const condition of ['absent', { version }] as const) {
        const complete = await uploadTo(service)
        await complete({ condition }).catch(() => {})
      }
      return requests
        .filter((request) => isCompletion(request) && request.url.pathname.endsWith('/a'))
        .map(({ headers }) => [headers['if-none-match'], headers['if-match']?.replaceAll('"', '').length])
    }
    expect(await conditionsOf(refusal(failed))).toEqual([
      ['*', undefined],
      [undefined, 32],
    ])
    expect(await conditionsOf(() => 'pass')).toEqual([
      [undefined, undefined],
      [undefined, undefined],
    ])
  })

  it('is true with conditionalWrites: false, without a probe: HEAD is sent before the completion', async () => {
    const { service, requests } = await proxiedService(() => 'pass', { conditionalWrites: false })
    await service.prepare()
    expect(service.checksCompletion).toBe(true)
    expect(requests.filter((request) => isCreation(request) || isCompletion(request))).toEqual([])
    const complete = await uploadTo(service)
    await complete({ condition: 'absent' })
    expect(requests.filter(isHead)).toHaveLength(1)
    const again = await uploadTo(service)
    await expect(again({ condition: 'absent' })).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(requests.filter(isCompletion)).toHaveLength(1)
    expect(requests.filter(({ headers }) => headers['if-none-match'])).toEqual([])
  })
})

describeS3('S3 listUploads()', () => {
  it('returns all uploads over several pages', { timeout: 120_000 }, async () => {
    const { direct, client, bucket } = await proxiedService()
    const begin = (key: string) =>
      client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
    const keys = Array.from({ length: 1_050 }, (_, i) => `a/ö+%2F ${i}`)
    const remaining = keys.values()
    const worker = async (): Promise<void> => {
      for (const key of remaining) await begin(key)
    }
    await Promise.all(Array.from({ length: 16 }, worker))
    // One key may have several uploads.
    await begin('a/b')
    await begin('a/b')
    await begin('b')
    const found = await all(direct.listUploads('a/'))
    expect(found.map(({ key }) => key).sort()).toEqual([...keys, 'a/b', 'a/b'].sort())
    expect(new Set(found.map(({ id }) => id)).size).toBe(1_052)
    for (const { key, id } of found) await direct.abortUpload(key, id)
    expect((await all(direct.listUploads(''))).map(({ key }) => key)).toEqual(['b'])
  })
})

describeS3('S3 equalParts', () => {
  it('is the given option', async () => {
    expect((await proxiedService()).service.equalParts).toBe(false)
    expect((await proxiedService(() => 'pass', { equalParts: true })).service.equalParts).toBe(true)
  })
})
