import { expect, it } from 'vitest'
import { describeS3 } from '../../../../support/ceph.ts'
import { put, textOf } from '../contract/fixture.ts'
import type { FakeResponse } from './fault-proxy.ts'
import { actionsFor, isCompletion, isHead, isWrite, proxiedService, twoSources } from './fixture.ts'

const conflict: FakeResponse = { status: 409, code: 'ConditionalRequestConflict' }
const failed: FakeResponse = { status: 412, code: 'PreconditionFailed' }

describeS3('S3 put() with a lost response', () => {
  it('absent: recognizes its own write, and resolves', async () => {
    const { service, direct, requests } = await proxiedService(actionsFor(isWrite, 'lose response'))
    const version = await service.put('a', [Buffer.from('mine')], { condition: 'absent' })
    expect(requests.filter(isWrite)).toHaveLength(2)
    expect(await direct.head('a')).toMatchObject({ version, size: 4, metadata: {} })
  })

  it('version: recognizes its own write, and resolves', async () => {
    const { service, direct, requests } = await proxiedService(({ method, headers }) =>
      method === 'PUT' && headers['if-match'] && count++ === 0 ? 'lose response' : 'pass',
    )
    let count = Number.NaN
    await service.prepare()
    const version = await put(service, 'a', 'first')
    count = 0
    const before = requests.length
    const second = await service.put('a', [Buffer.from('second')], { condition: { version } })
    expect(requests.slice(before).filter(isWrite)).toHaveLength(2)
    expect(await direct.head('a')).toMatchObject({ version: second })
    expect(await textOf(direct, 'a')).toBe('second')
  })

  it('rejects with ConditionFailed when another client wrote the same bytes', async () => {
    const { service, direct } = await proxiedService(actionsFor(isWrite, 'lose'))
    await direct.put('a', [Buffer.from('same')], { condition: 'absent' })
    const writing = service.put('a', [Buffer.from('same')], { condition: 'absent' })
    await expect(writing).rejects.toMatchObject({ name: 'ConditionFailed' })
  })

  it('sends no HEAD request when the condition fails without a repetition', async () => {
    const { service, direct, requests } = await proxiedService()
    await put(direct, 'a')
    const writing = service.put('a', [Buffer.from('same')], { condition: 'absent' })
    await expect(writing).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(requests.filter(isHead)).toEqual([])
  })
})

describeS3('S3 put() with concurrent requests', () => {
  it('is sent again after 409 ConditionalRequestConflict', async () => {
    const { service, direct } = await proxiedService(actionsFor(isWrite, conflict, conflict))
    await service.put('a', [Buffer.from('mine')], { condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('rejects with ConditionFailed after 4 conflicts', async () => {
    const { service, direct, requests } = await proxiedService((request) =>
      isWrite(request) ? conflict : 'pass',
    )
    const writing = service.put('a', [Buffer.from('mine')], { condition: 'absent' })
    await expect(writing).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(requests.filter(isWrite)).toHaveLength(4)
    expect(await direct.head('a')).toBeUndefined()
  })

  it('rejects with ConditionFailed when S3 returns NoSuchKey', async () => {
    const { service } = await proxiedService(({ headers, url }) =>
      headers['if-match'] && url.pathname.endsWith('/a') ? { status: 404, code: 'NoSuchKey' } : 'pass',
    )
    const version = await put(service, 'a')
    const writing = service.put('a', [Buffer.from('mine')], { condition: { version } })
    await expect(writing).rejects.toMatchObject({ name: 'ConditionFailed' })
  })

  it('passes on other errors (AccessDenied)', async () => {
    const { service } = await proxiedService((request) =>
      isWrite(request) ? { status: 403, code: 'AccessDenied' } : 'pass',
    )
    await expect(service.put('a', [], { condition: 'absent' })).rejects.toMatchObject({
      name: 'AccessDenied',
    })
    await expect(service.put('a', [])).rejects.toMatchObject({ name: 'AccessDenied' })
  })
})

describeS3('S3 compose() with a lost response', () => {
  const uploadMissing: FakeResponse = { status: 404, code: 'NoSuchUpload' }

  it('recognizes its own object when S3 returns NoSuchUpload', async () => {
    const { service, direct } = await proxiedService(actionsFor(isCompletion, 'lose response', uploadMissing))
    const sources = await twoSources(direct)
    await service.compose(sources, 'a', { condition: 'absent' })
    expect((await direct.head('a'))?.size).toBe(direct.minSourceBytes + 10)
  })

  it('recognizes its own object when S3 returns PreconditionFailed', async () => {
    const { service, direct } = await proxiedService(actionsFor(isCompletion, 'lose response', failed))
    const sources = await twoSources(direct)
    await service.compose(sources, 'a', { condition: 'absent' })
    expect((await direct.head('a'))?.size).toBe(direct.minSourceBytes + 10)
  })

  it('rejects with NoSuchUpload when the object is of an older compose call with the same sources', async () => {
    const { service, direct } = await proxiedService(actionsFor(isCompletion, 'lose', uploadMissing))
    const sources = await twoSources(direct)
    await direct.compose(sources, 'a')
    await expect(service.compose(sources, 'a')).rejects.toMatchObject({ name: 'NoSuchUpload' })
  })

  it('recognizes its own object when it has one source', async () => {
    const { service, direct } = await proxiedService(actionsFor(isWrite, 'lose response', failed))
    await put(direct, 'one', 'abc')
    await service.compose([{ key: 'one', size: 3 }], 'a', { condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('abc')
  })
})

describeS3('S3 compose() with status 200 and no result', () => {
  const error = '<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>'
  const errorWith200: FakeResponse = { status: 200, body: error }

  it('is sent again when the body has an error', async () => {
    const { service, direct } = await proxiedService(actionsFor(isCompletion, errorWith200))
    await service.compose(await twoSources(direct), 'a')
    expect((await direct.head('a'))?.size).toBe(direct.minSourceBytes + 10)
  })

  it('rejects with the error when every repetition has it', async () => {
    const { service, direct } = await proxiedService((request) =>
      isCompletion(request) ? errorWith200 : 'pass',
    )
    const composing = service.compose(await twoSources(direct), 'a')
    await expect(composing).rejects.toMatchObject({ name: 'InternalError' })
    expect(await direct.head('a')).toBeUndefined()
  })

  it('rejects with ConditionFailed when the body has PreconditionFailed, also for a copy', async () => {
    const refused: FakeResponse = { status: 200, body: error.replace('InternalError', 'PreconditionFailed') }
    const { service, direct } = await proxiedService((request) =>
      isCompletion(request) || isWrite(request) ? refused : 'pass',
    )
    const sources = await twoSources(direct)
    for (const input of [sources, sources.slice(1)]) {
      const composing = service.compose(input, 'a', { condition: 'absent' })
      await expect(composing).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
  })

  it('resolves for an unknown body only if the object exists', async () => {
    const unknown: FakeResponse = { status: 200, body: `${error}\n` }
    const { service, direct } = await proxiedService((request) => (isCompletion(request) ? unknown : 'pass'))
    const sources = await twoSources(direct)
    await expect(service.compose(sources, 'a')).rejects.toThrow('did not report')
    expect(await direct.head('a')).toBeUndefined()
    const done = await proxiedService((request) => (isCompletion(request) ? { after: unknown } : 'pass'))
    await done.service.compose(await twoSources(done.direct), 'a')
    expect((await done.direct.head('a'))?.size).toBe(direct.minSourceBytes + 10)
  })
})

describeS3('S3 compose() with concurrent requests', () => {
  it('rejects with ConditionFailed when the completion returns 412 or 409', async () => {
    for (const refusal of [failed, conflict]) {
      const { service, direct } = await proxiedService(actionsFor(isCompletion, refusal))
      const composing = service.compose(await twoSources(direct), 'a', { condition: 'absent' })
      await expect(composing).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
  })
})
