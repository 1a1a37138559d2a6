import { expect, it } from 'vitest'
import { describeS3 } from '../../../../support/ceph.ts'
import { put, textOf } from '../contract/fixture.ts'
import type { FakeResponse } from './fault-proxy.ts'
import { actionsFor, isHead, isWrite, proxiedService } from './fixture.ts'

const conflict: FakeResponse = { status: 409, code: 'ConditionalRequestConflict' }

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
