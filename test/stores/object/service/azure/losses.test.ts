import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import type { ObjectService, PutOptions } from '../../../../../lib/stores/object/service/service.ts'
import { temporaryContainer } from '../../../../support/azurite.ts'
import { noise } from '../../../../support/bytes.ts'
import { withResolvers } from '../../../../support/promise.ts'
import { assertBytes, bytesOf, put, textOf } from '../contract/tested.ts'
import { type Relay, relayTo } from './relay.ts'
import { byWayOf, serviceOf } from './way.ts'

interface Setting {
  /** The space behind a line that may break. */
  readonly space: ObjectService
  /** The same one, on a line that does not. */
  readonly other: ObjectService
  readonly relay: Relay
}

async function setting(): Promise<Setting> {
  const container = await temporaryContainer()
  const relay = await relayTo(serviceOf(container))
  return {
    space: createAzureService(byWayOf(relay.url, container)),
    other: createAzureService(container),
    relay,
  }
}

/** The ways to write `a`, all with the text "new". */
const ways = {
  put: (space: ObjectService, options: PutOptions) => space.put('a', [Buffer.from('new')], options),
  join: async (space: ObjectService, options: PutOptions) => {
    await put(space, 's', 'new')
    await space.compose([{ key: 's', size: 3 }], 'a', options)
    return (await space.head('a'))?.version
  },
}
const requests = { put: /^PUT \S+\/a HTTP/, join: /^PUT \S+\/a\?comp=blocklist/ }

describe.each(['put', 'join'] as const)('Azure %s() with a lost response', (way) => {
  const write = ways[way]
  const request = requests[way]

  it('resolves when the condition was absent', async () => {
    const { space, other, relay } = await setting()
    relay.lose(request)
    const metadata = { owner: 'ann' }
    const description = { contentType: 'text/plain', metadata }
    const version = await write(space, { condition: 'absent', description })
    expect(relay.lost()).toBe(1)
    expect(await textOf(other, 'a')).toBe('new')
    expect(await other.head('a')).toMatchObject({ version, metadata })
  })

  it('resolves when the condition was a version', async () => {
    const { space, other, relay } = await setting()
    const condition = { version: await put(other, 'a', 'old') }
    relay.lose(request)
    const version = await write(space, { condition })
    expect(relay.lost()).toBe(1)
    expect(await textOf(other, 'a')).toBe('new')
    expect(await other.head('a')).toMatchObject({ version })
  })

  it('rejects with ConditionFailed when another write of the same bytes followed', async () => {
    const { space, other, relay } = await setting()
    const meanwhile = () => put(other, 'a', 'new')
    relay.lose(request, { meanwhile })
    await expect(write(space, { condition: 'absent' })).rejects.toMatchObject({ name: 'ConditionFailed' })
    relay.lose(request, { meanwhile })
    const condition = { version: (await other.head('a'))?.version ?? '' }
    await expect(write(space, { condition })).rejects.toMatchObject({ name: 'ConditionFailed' })
    expect(relay.lost()).toBe(2)
  })

  it('is repeated when it has no condition', async () => {
    const { space, other, relay } = await setting()
    relay.lose(request)
    await write(space, {})
    expect(relay.lost()).toBe(1)
    expect(await textOf(other, 'a')).toBe('new')
  })
})

describe('Azure removeIf() with a lost response', () => {
  it('resolves, and the object is removed', async () => {
    const { space, other, relay } = await setting()
    const version = await put(other, 'a')
    relay.lose(/^DELETE/)
    await space.removeIfVersion('a', version)
    expect(relay.lost()).toBe(1)
    expect(await other.head('a')).toBeUndefined()
  })
})

describe('Azure transfer that breaks in the middle', () => {
  const bytes = noise(3_000_000)
  const get = /^GET/

  it('is resumed by read() and get()', async () => {
    const { space, other, relay } = await setting()
    await other.put('a', [bytes])
    relay.lose(get, { after: 1_000_000 })
    assertBytes(await bytesOf(space.read('a', 1, 2_999_998)), bytes.subarray(1, 2_999_999))
    relay.lose(get, { after: 1_000_000 })
    assertBytes((await space.get('a'))?.bytes, bytes)
    expect(relay.lost()).toBe(2)
  })

  it('rejects with ConditionNotMet when the object was replaced meanwhile', async () => {
    const { space, other, relay } = await setting()
    await other.put('a', [bytes])
    relay.lose(get, { after: 1_000_000, meanwhile: () => other.put('a', [noise(3_000_000, 2)]) })
    await expect(bytesOf(space.read('a', 0, 2_999_999))).rejects.toMatchObject({ code: 'ConditionNotMet' })
  })

  it('is resumed for a join() source that passes through this process', async () => {
    const { space, other, relay } = await setting()
    await other.put('s', [bytes])
    relay.lose(/^GET \S+\/s /, { after: 1_000_000 })
    await space.compose([{ key: 's', size: bytes.length }], 'a')
    expect(relay.lost()).toBe(1)
    assertBytes((await other.get('a'))?.bytes, bytes)
  })

  it('is sent again when join() loses the response to a block', async () => {
    const { space, other, relay } = await setting()
    await other.put('s', [bytes])
    // The service closes before all has come to it.
    relay.lose(/^PUT \S+comp=block&\S+ HTTP\/1.1\r\n(?!.*x-ms-copy-source)/s)
    await space.compose([{ key: 's', size: bytes.length }], 'a')
    expect(relay.lost()).toBe(1)
    assertBytes((await other.get('a'))?.bytes, bytes)
  })

  it('ends without an error when the stream is destroyed', async () => {
    const { space, other, relay } = await setting()
    await put(other, 'a')
    const asked = withResolvers<void>()
    const never = new Promise(() => {})
    relay.lose(get, {
      meanwhile() {
        asked.resolve()
        return never
      },
    })
    const stream = space.read('a', 0, 0)
    stream.resume()
    await asked.promise
    stream.destroy()
    await once(stream, 'close')
    expect(stream.errored).toBeNull()
  })
})
