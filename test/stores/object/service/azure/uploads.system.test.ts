import { describe, expect, it } from 'vitest'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import type { ObjectService, PutOptions } from '../../../../../lib/stores/object/service/service.ts'
import { temporaryContainer } from '../../../../support/azurite.ts'
import { noise } from '../../../../support/bytes.ts'
import { withResolvers } from '../../../../support/promise.ts'
import { assertBytes, put, textOf } from '../contract/fixture.ts'
import { serverUrlOf, viaServer } from './fixture.ts'
import { relayTo } from './relay.ts'

async function relayFixture() {
  const container = await temporaryContainer()
  const relay = await relayTo(serverUrlOf(container))
  return {
    service: createAzureService(viaServer(relay.url, container)),
    direct: createAzureService(container),
    container,
    relay,
  }
}

const part = /^PUT \S+comp=block&/
const completion = /^PUT \S+\/a\?comp=blocklist/

/** Begins an upload of "new" to `a`. Returns a function that completes it. */
async function uploadTo(service: ObjectService): Promise<(options?: PutOptions) => Promise<void>> {
  const { id } = await service.createUpload('a')
  const tag = await service.putPart('a', { upload: id, number: 1 }, [Buffer.from('new')])
  return (options) => service.completeUpload('a', id, [tag], options)
}

describe('Azure createUpload()', () => {
  it('sends no request, and returns another id of 18 characters each time', async () => {
    const container = await temporaryContainer()
    const service = createAzureService(viaServer(new URL('http://127.0.0.1:1'), container))
    const ids = new Set<string>()
    for (let i = 0; i < 10; i += 1) ids.add((await service.createUpload('a')).id)
    expect(ids.size).toBe(10)
    for (const id of ids) expect(id).toMatch(/^[\w-]{18}$/)
  })
})

describe('Azure putPart()', () => {
  it('uses block ids of 48 bytes, as other programs do, so that their blocks may exist', async () => {
    const { direct, container } = await relayFixture()
    const blob = container.getBlockBlobClient('a')
    await blob.stageBlock(Buffer.alloc(36, 'x').toString('base64'), 'foreign', 7)
    const complete = await uploadTo(direct)
    const { uncommittedBlocks = [] } = await blob.getBlockList('uncommitted')
    expect(uncommittedBlocks.map(({ name }) => name.length)).toEqual([48, 48])
    await complete({ condition: 'absent' })
    expect(await textOf(direct, 'a')).toBe('new')
  })

  it('is sent again when the response is lost, with the same block id', async () => {
    const { service, container, relay } = await relayFixture()
    relay.lose(part)
    const complete = await uploadTo(service)
    expect(relay.lost()).toBe(1)
    const list = await container.getBlockBlobClient('a').getBlockList('uncommitted')
    expect(list.uncommittedBlocks).toHaveLength(1)
    await complete()
    expect(await textOf(service, 'a')).toBe('new')
  })

  it('is sent again completely when the connection breaks in the body', async () => {
    const { service, relay } = await relayFixture()
    const bytes = noise(3_000_000)
    const chunks = [bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)]
    const { id } = await service.createUpload('a')
    relay.lose(part)
    const tag = await service.putPart('a', { upload: id, number: 1 }, chunks)
    expect(relay.lost()).toBe(1)
    await service.completeUpload('a', id, [tag])
    assertBytes((await service.get('a'))?.bytes, bytes)
  })

  it.each(['putPart', 'completeUpload'] as const)(
    '%s() rejects when the signal is aborted during the request',
    async (call) => {
      const { service, relay } = await relayFixture()
      const { id } = await service.createUpload('a')
      const asked = withResolvers<void>()
      relay.lose(/^PUT/, {
        meanwhile() {
          asked.resolve()
          return new Promise(() => {})
        },
      })
      const controller = new AbortController()
      const { signal } = controller
      const calls = {
        putPart: () => service.putPart('a', { upload: id, number: 1 }, [Buffer.from('a')], { signal }),
        completeUpload: () => service.completeUpload('a', id, ['unknownunknown1234'], { signal }),
      }
      const called = calls[call]()
      await asked.promise
      controller.abort()
      await expect(called).rejects.toMatchObject({ name: 'AbortError' })
    },
  )
})

describe('Azure completeUpload() with a lost response', () => {
  it('resolves when its condition was met', async () => {
    const { service, direct, relay } = await relayFixture()
    for (const text of [undefined, 'old']) {
      await direct.remove(['a'])
      const condition = text ? { version: await put(direct, 'a', text) } : 'absent'
      const complete = await uploadTo(service)
      relay.lose(completion)
      const metadata = { owner: 'ann' }
      await complete({ condition, attributes: { contentType: 'text/plain', metadata } })
      expect(await textOf(direct, 'a')).toBe('new')
      expect(await direct.head('a')).toMatchObject({ metadata })
    }
    expect(relay.lost()).toBe(2)
  })

  it('rejects with ConditionFailed when another write of the same bytes followed', async () => {
    const { service, direct, relay } = await relayFixture()
    const complete = await uploadTo(service)
    relay.lose(completion, { meanwhile: () => put(direct, 'a', 'new') })
    await expect(complete({ condition: 'absent' })).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(relay.lost()).toBe(1)
  })

  it('rejects with UploadMissing when the object was removed meanwhile, and writes it not again', async () => {
    const { service, direct, relay } = await relayFixture()
    for (const condition of ['absent', undefined] as const) {
      const complete = await uploadTo(service)
      relay.lose(completion, { meanwhile: () => direct.remove(['a']) })
      await expect(complete({ ...(condition && { condition }) })).rejects.toMatchObject({
        name: 'UploadMissing',
      })
      expect(await direct.head('a')).toBeUndefined()
    }
    expect(relay.lost()).toBe(2)
  })

  it('writes the same object again when it has no condition', async () => {
    const { service, direct, relay } = await relayFixture()
    const complete = await uploadTo(service)
    relay.lose(completion)
    await complete()
    expect(relay.lost()).toBe(1)
    expect(await textOf(direct, 'a')).toBe('new')
  })
})

describe('Azure completeUpload() of a blob that another client leases', () => {
  it('rejects with the error of the service (LeaseIdMissing)', async () => {
    const { direct, container } = await relayFixture()
    await put(direct, 'a', 'old')
    const complete = await uploadTo(direct)
    await container.getBlobClient('a').getBlobLeaseClient().acquireLease(60)
    await expect(complete()).rejects.toMatchObject({ code: 'LeaseIdMissing' })
    expect(await textOf(direct, 'a')).toBe('old')
  })
})
