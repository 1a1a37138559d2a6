import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import type { ObjectService, PutOptions } from '../../../../../lib/stores/object/service/service.ts'
import { temporaryContainer } from '../../../../support/azurite.ts'
import { noise } from '../../../../support/bytes.ts'
import { withResolvers } from '../../../../support/promise.ts'
import { assertBytes, bytesOf, put, textOf } from '../contract/fixture.ts'
import { serverUrlOf, viaServer } from './fixture.ts'
import { type Relay, relayTo } from './relay.ts'

interface RelayFixture {
  /** The service, reached through the relay. */
  readonly service: ObjectService
  /** The same objects, without the relay. */
  readonly direct: ObjectService
  readonly relay: Relay
}

async function relayFixture(): Promise<RelayFixture> {
  const container = await temporaryContainer()
  const relay = await relayTo(serverUrlOf(container))
  return {
    service: createAzureService(viaServer(relay.url, container)),
    direct: createAzureService(container),
    relay,
  }
}

/** Writes the text "new" to `a`. */
const write = (service: ObjectService, options: PutOptions) => service.put('a', [Buffer.from('new')], options)
const request = /^PUT \S+\/a HTTP/

describe('Azure put() with a lost response', () => {
  it('resolves when the condition was absent', async () => {
    const { service, direct, relay } = await relayFixture()
    relay.lose(request)
    const metadata = { owner: 'ann' }
    const attributes = { contentType: 'text/plain', metadata }
    const version = await write(service, { condition: 'absent', attributes })
    expect(relay.lost()).toBe(1)
    expect(await textOf(direct, 'a')).toBe('new')
    expect(await direct.head('a')).toMatchObject({ version, metadata })
  })

  it('resolves when the condition was a version', async () => {
    const { service, direct, relay } = await relayFixture()
    const condition = { version: await put(direct, 'a', 'old') }
    relay.lose(request)
    const version = await write(service, { condition })
    expect(relay.lost()).toBe(1)
    expect(await textOf(direct, 'a')).toBe('new')
    expect(await direct.head('a')).toMatchObject({ version })
  })

  it('rejects with ConditionFailed when another write of the same bytes followed', async () => {
    const { service, direct, relay } = await relayFixture()
    const meanwhile = () => put(direct, 'a', 'new')
    relay.lose(request, { meanwhile })
    await expect(write(service, { condition: 'absent' })).rejects.toMatchObject({ name: 'ConditionFailed' })
    relay.lose(request, { meanwhile })
    const condition = { version: (await direct.head('a'))?.version ?? '' }
    await expect(write(service, { condition })).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(relay.lost()).toBe(2)
  })

  it('is repeated when it has no condition', async () => {
    const { service, direct, relay } = await relayFixture()
    relay.lose(request)
    await write(service, {})
    expect(relay.lost()).toBe(1)
    expect(await textOf(direct, 'a')).toBe('new')
  })
})

describe('Azure transfer that breaks in the middle', () => {
  const bytes = noise(3_000_000)
  const get = /^GET/

  it('is resumed by read() and get()', async () => {
    const { service, direct, relay } = await relayFixture()
    await direct.put('a', [bytes])
    relay.lose(get, { after: 1_000_000 })
    assertBytes(await bytesOf(service.read('a', 1, 2_999_998)), bytes.subarray(1, 2_999_999))
    relay.lose(get, { after: 1_000_000 })
    assertBytes((await service.get('a'))?.bytes, bytes)
    expect(relay.lost()).toBe(2)
  })

  it('rejects with ConditionNotMet when the object was replaced meanwhile', async () => {
    const { service, direct, relay } = await relayFixture()
    await direct.put('a', [bytes])
    relay.lose(get, { after: 1_000_000, meanwhile: () => direct.put('a', [noise(3_000_000, 2)]) })
    await expect(bytesOf(service.read('a', 0, 2_999_999))).rejects.toMatchObject({ code: 'ConditionNotMet' })
  })

  /** Copies `s` to a part of `a`, and completes that upload. */
  const copy = async (service: ObjectService): Promise<void> => {
    const { id } = await service.createUpload('a')
    const tag = await service.copyPart('a', { upload: id, number: 1 }, { key: 's', size: bytes.length })
    await service.completeUpload('a', id, [tag])
  }

  it('is resumed for a copyPart() source that passes through this process', async () => {
    const { service, direct, relay } = await relayFixture()
    await direct.put('s', [bytes])
    relay.lose(/^GET \S+\/s /, { after: 1_000_000 })
    await copy(service)
    expect(relay.lost()).toBe(1)
    assertBytes((await direct.get('a'))?.bytes, bytes)
  })

  it('is sent again when copyPart() loses the response to a block', async () => {
    const { service, direct, relay } = await relayFixture()
    await direct.put('s', [bytes])
    // The connection is closed before the server has received the whole block.
    relay.lose(/^PUT \S+comp=block&\S+ HTTP\/1.1\r\n(?!.*x-ms-copy-source)/s)
    await copy(service)
    expect(relay.lost()).toBe(1)
    assertBytes((await direct.get('a'))?.bytes, bytes)
  })

  it('ends without an error when the stream is destroyed', async () => {
    const { service, direct, relay } = await relayFixture()
    await put(direct, 'a')
    const asked = withResolvers<void>()
    const never = new Promise(() => {})
    relay.lose(get, {
      meanwhile() {
        asked.resolve()
        return never
      },
    })
    const stream = service.read('a', 0, 0)
    stream.resume()
    await asked.promise
    stream.destroy()
    await once(stream, 'close')
    expect(stream.errored).toBeNull()
  })
})
