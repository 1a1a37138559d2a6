import { expect, it } from 'vitest'
import { describeS3 } from '../../../../support/ceph.ts'
import { put, textOf } from '../contract/tested.ts'
import type { Instead } from './meddler.ts'
import { behind, completes, fates, looks, twoSources, writes } from './setting.ts'

const conflict: Instead = { status: 409, code: 'ConditionalRequestConflict' }
const failed: Instead = { status: 412, code: 'PreconditionFailed' }

describeS3('S3 put() with a lost response', () => {
  it('absent: recognizes its own write, and resolves', async () => {
    const { space, direct, seen } = await behind(fates(writes, 'lose answer'))
    const version = await space.put('a', [Buffer.from('mine')], { condition: 'absent' })
    expect(seen.filter(writes)).toHaveLength(2)
    expect(await direct.head('a')).toMatchObject({ version, size: 4, metadata: {} })
  })

  it('version: recognizes its own write, and resolves', async () => {
    const { space, direct, seen } = await behind(({ method, headers }) =>
      method === 'PUT' && headers['if-match'] && count++ === 0 ? 'lose answer' : 'pass',
    )
    let count = Number.NaN
    await space.prepare()
    const version = await put(space, 'a', 'first')
    count = 0
    const before = seen.length
    const second = await space.put('a', [Buffer.from('second')], { condition: { version } })
    expect(seen.slice(before).filter(writes)).toHaveLength(2)
    expect(await direct.head('a')).toMatchObject({ version: second })
    expect(await textOf(direct, 'a')).toBe('second')
  })

  it('rejects with ConditionFailed when another client wrote the same bytes', async () => {
    const { space, direct } = await behind(fates(writes, 'lose'))
    await direct.put('a', [Buffer.from('same')], { condition: 'absent' })
    const again = space.put('a', [Buffer.from('same')], { condition: 'absent' })
    await expect(again).rejects.toMatchObject({ name: 'ConditionFailed' })
  })

  it('sends no HEAD request when the condition fails without a repetition', async () => {
    const { space, direct, seen } = await behind()
    await put(direct, 'a')
    const again = space.put('a', [Buffer.from('same')], { condition: 'absent' })
    await expect(again).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(seen.filter(looks)).toEqual([])
  })
})

describeS3('S3 put() with concurrent requests', () => {
  it('is sent again after 409 ConditionalRequestConflict', async () => {
    const { space, direct } = await behind(fates(writes, conflict, conflict))
    await space.put('a', [Buffer.from('mine')], { condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('rejects with ConditionFailed after 4 conflicts', async () => {
    const { space, direct, seen } = await behind((one) => (writes(one) ? conflict : 'pass'))
    const written = space.put('a', [Buffer.from('mine')], { condition: 'absent' })
    await expect(written).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(seen.filter(writes)).toHaveLength(4)
    expect(await direct.head('a')).toBeUndefined()
  })

  it('rejects with ConditionFailed when S3 returns NoSuchKey', async () => {
    const { space } = await behind(({ headers, url }) =>
      headers['if-match'] && url.pathname.endsWith('/a') ? { status: 404, code: 'NoSuchKey' } : 'pass',
    )
    const version = await put(space, 'a')
    const written = space.put('a', [Buffer.from('mine')], { condition: { version } })
    await expect(written).rejects.toMatchObject({ name: 'ConditionFailed' })
  })

  it('passes on other errors (AccessDenied)', async () => {
    const { space } = await behind((one) => (writes(one) ? { status: 403, code: 'AccessDenied' } : 'pass'))
    await expect(space.put('a', [], { condition: 'absent' })).rejects.toMatchObject({ name: 'AccessDenied' })
    await expect(space.put('a', [])).rejects.toMatchObject({ name: 'AccessDenied' })
  })
})

describeS3('S3 join() with a lost response', () => {
  const gone: Instead = { status: 404, code: 'NoSuchUpload' }

  it('recognizes its own object when S3 returns NoSuchUpload', async () => {
    const { space, direct } = await behind(fates(completes, 'lose answer', gone))
    const sources = await twoSources(direct)
    await space.compose(sources, 'a', { condition: 'absent' })
    expect((await direct.head('a'))?.size).toBe(direct.minSource + 10)
  })

  it('recognizes its own object when S3 returns PreconditionFailed', async () => {
    const { space, direct } = await behind(fates(completes, 'lose answer', failed))
    const sources = await twoSources(direct)
    await space.compose(sources, 'a', { condition: 'absent' })
    expect((await direct.head('a'))?.size).toBe(direct.minSource + 10)
  })

  it('rejects with NoSuchUpload when the object is of an older join of the same sources', async () => {
    const { space, direct } = await behind(fates(completes, 'lose', gone))
    const sources = await twoSources(direct)
    await direct.compose(sources, 'a')
    await expect(space.compose(sources, 'a')).rejects.toMatchObject({ name: 'NoSuchUpload' })
  })

  it('recognizes its own object when it has one source', async () => {
    const { space, direct } = await behind(fates(writes, 'lose answer', failed))
    await put(direct, 'one', 'abc')
    await space.compose([{ key: 'one', size: 3 }], 'a', { condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('abc')
  })
})

describeS3('S3 join() with status 200 and no result', () => {
  const error = '<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>'
  const late: Instead = { status: 200, body: error }

  it('is sent again when the body has an error', async () => {
    const { space, direct } = await behind(fates(completes, late))
    await space.compose(await twoSources(direct), 'a')
    expect((await direct.head('a'))?.size).toBe(direct.minSource + 10)
  })

  it('rejects with the error when every repetition has it', async () => {
    const { space, direct } = await behind((one) => (completes(one) ? late : 'pass'))
    const joined = space.compose(await twoSources(direct), 'a')
    await expect(joined).rejects.toMatchObject({ name: 'InternalError' })
    expect(await direct.head('a')).toBeUndefined()
  })

  it('rejects with ConditionFailed when the body has PreconditionFailed, also for a copy', async () => {
    const refused: Instead = { status: 200, body: error.replace('InternalError', 'PreconditionFailed') }
    const { space, direct } = await behind((one) => (completes(one) || writes(one) ? refused : 'pass'))
    const sources = await twoSources(direct)
    for (const some of [sources, sources.slice(1)]) {
      const joined = space.compose(some, 'a', { condition: 'absent' })
      await expect(joined).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
  })

  it('resolves for an unknown body only if the object exists', async () => {
    const odd: Instead = { status: 200, body: `${error}\n` }
    const { space, direct } = await behind((one) => (completes(one) ? odd : 'pass'))
    const sources = await twoSources(direct)
    await expect(space.compose(sources, 'a')).rejects.toThrow('did not tell')
    expect(await direct.head('a')).toBeUndefined()
    const done = await behind((one) => (completes(one) ? { after: odd } : 'pass'))
    await done.space.compose(await twoSources(done.direct), 'a')
    expect((await done.direct.head('a'))?.size).toBe(direct.minSource + 10)
  })
})

describeS3('S3 join() with concurrent requests', () => {
  it('rejects with ConditionFailed when the completion returns 412 or 409', async () => {
    for (const refusal of [failed, conflict]) {
      const { space, direct } = await behind(fates(completes, refusal))
      const joined = space.compose(await twoSources(direct), 'a', { condition: 'absent' })
      await expect(joined).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
  })
})
