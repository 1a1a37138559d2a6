import { expect, it } from 'vitest'
import { describeS3 } from '../../support/ceph.ts'
import { put, textOf } from '../space/tested.ts'
import type { Instead } from './meddler.ts'
import { behind, completes, fates, looks, twoSources, writes } from './setting.ts'

const conflict: Instead = { status: 409, code: 'ConditionalRequestConflict' }
const failed: Instead = { status: 412, code: 'PreconditionFailed' }

describeS3('put() whose answer is lost', () => {
  it('absent: is known for what was written', async () => {
    const { space, direct, seen } = await behind(fates(writes, 'lose answer'))
    const version = await space.put('a', [Buffer.from('mine')], { condition: 'absent' })
    expect(seen.filter(writes)).toHaveLength(2)
    expect(await direct.head('a')).toMatchObject({ version, size: 4, metadata: {} })
  })

  it('a version: is known for what was written', async () => {
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

  it('is not taken for the same bytes of somebody else', async () => {
    const { space, direct } = await behind(fates(writes, 'lose'))
    await direct.put('a', [Buffer.from('same')], { condition: 'absent' })
    const again = space.put('a', [Buffer.from('same')], { condition: 'absent' })
    await expect(again).rejects.toMatchObject({ name: 'ConditionFailed' })
  })

  it('is not looked for where nothing was repeated', async () => {
    const { space, direct, seen } = await behind()
    await put(direct, 'a')
    const again = space.put('a', [Buffer.from('same')], { condition: 'absent' })
    await expect(again).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(seen.filter(looks)).toEqual([])
  })
})

describeS3('put() among others', () => {
  it('is sent again when another request came in between', async () => {
    const { space, direct } = await behind(fates(writes, conflict, conflict))
    await space.put('a', [Buffer.from('mine')], { condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('mine')
  })

  it('gives up when others always do', async () => {
    const { space, direct, seen } = await behind((one) => (writes(one) ? conflict : 'pass'))
    const written = space.put('a', [Buffer.from('mine')], { condition: 'absent' })
    await expect(written).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(seen.filter(writes)).toHaveLength(4)
    expect(await direct.head('a')).toBeUndefined()
  })

  it('finds the object gone, as S3 tells it', async () => {
    const { space } = await behind(({ headers, url }) =>
      headers['if-match'] && url.pathname.endsWith('/a') ? { status: 404, code: 'NoSuchKey' } : 'pass',
    )
    const version = await put(space, 'a')
    const written = space.put('a', [Buffer.from('mine')], { condition: { version } })
    await expect(written).rejects.toMatchObject({ name: 'ConditionFailed' })
  })

  it('passes on what is no matter of its condition', async () => {
    const { space } = await behind((one) => (writes(one) ? { status: 403, code: 'AccessDenied' } : 'pass'))
    await expect(space.put('a', [], { condition: 'absent' })).rejects.toMatchObject({ name: 'AccessDenied' })
    await expect(space.put('a', [])).rejects.toMatchObject({ name: 'AccessDenied' })
  })
})

describeS3('join() whose answer is lost', () => {
  const gone: Instead = { status: 404, code: 'NoSuchUpload' }

  it('is known for what was made, when its upload is gone', async () => {
    const { space, direct } = await behind(fates(completes, 'lose answer', gone))
    const sources = await twoSources(direct)
    await space.join(sources, 'a', { condition: 'absent' })
    expect((await direct.head('a'))?.size).toBe(direct.minSource + 10)
  })

  it('is known for what was made, when S3 finds it there', async () => {
    const { space, direct } = await behind(fates(completes, 'lose answer', failed))
    const sources = await twoSources(direct)
    await space.join(sources, 'a', { condition: 'absent' })
    expect((await direct.head('a'))?.size).toBe(direct.minSource + 10)
  })

  it('is not taken for an older one of the same', async () => {
    const { space, direct } = await behind(fates(completes, 'lose', gone))
    const sources = await twoSources(direct)
    await direct.join(sources, 'a')
    await expect(space.join(sources, 'a')).rejects.toMatchObject({ name: 'NoSuchUpload' })
  })

  it('of one source is known for what was made', async () => {
    const { space, direct } = await behind(fates(writes, 'lose answer', failed))
    await put(direct, 'one', 'abc')
    await space.join([{ key: 'one', size: 3 }], 'a', { condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('abc')
  })
})

describeS3('join() that is answered 200 before it is done', () => {
  const error = '<?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>'
  const late: Instead = { status: 200, body: error }

  it('is sent again when an error is behind it', async () => {
    const { space, direct } = await behind(fates(completes, late))
    await space.join(await twoSources(direct), 'a')
    expect((await direct.head('a'))?.size).toBe(direct.minSource + 10)
  })

  it('fails when there always is', async () => {
    const { space, direct } = await behind((one) => (completes(one) ? late : 'pass'))
    const joined = space.join(await twoSources(direct), 'a')
    await expect(joined).rejects.toMatchObject({ name: 'InternalError' })
    expect(await direct.head('a')).toBeUndefined()
  })

  it('fails when the condition is, of the completion and of the copy', async () => {
    const refused: Instead = { status: 200, body: error.replace('InternalError', 'PreconditionFailed') }
    const { space, direct } = await behind((one) => (completes(one) || writes(one) ? refused : 'pass'))
    const sources = await twoSources(direct)
    for (const some of [sources, sources.slice(1)]) {
      const joined = space.join(some, 'a', { condition: 'absent' })
      await expect(joined).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
  })

  it('is looked for when no result is behind it', async () => {
    const odd: Instead = { status: 200, body: `${error}\n` }
    const { space, direct } = await behind((one) => (completes(one) ? odd : 'pass'))
    const sources = await twoSources(direct)
    await expect(space.join(sources, 'a')).rejects.toThrow('did not tell')
    expect(await direct.head('a')).toBeUndefined()
    const done = await behind((one) => (completes(one) ? { after: odd } : 'pass'))
    await done.space.join(await twoSources(done.direct), 'a')
    expect((await done.direct.head('a'))?.size).toBe(direct.minSource + 10)
  })
})

describeS3('join() among others', () => {
  it('finds that an object has appeared meanwhile, where S3 sees to it', async () => {
    for (const refusal of [failed, conflict]) {
      const { space, direct } = await behind(fates(completes, refusal))
      const joined = space.join(await twoSources(direct), 'a', { condition: 'absent' })
      await expect(joined).rejects.toMatchObject({ name: 'ConditionFailed' })
    }
  })
})
