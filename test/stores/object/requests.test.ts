/** The requests of each packet: the table in lib/stores/object/README.md. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { CreateOptions, NewSession, Session } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { body, newSession } from '../../support/store.ts'
import { MiB } from './fixture.ts'
import { type NodeOptions, sharedBucket } from './observed.ts'

/** A server that receives one upload. Each packet resolves to its requests. */
function server(
  file: Buffer,
  options: NodeOptions,
  more: Partial<NewSession> = {},
  createOptions: CreateOptions = {},
) {
  const bucket = sharedBucket(options)
  // No lease is renewed while this computer is busy.
  const node = bucket.newNode({ renew: 1e6, dead: 1e6, poll: 1 })
  const { store, takeRequests } = node
  let session: Session | undefined
  const current = (): Session => {
    if (!session) throw new Error('There is no session')
    return session
  }
  return {
    ...bucket,
    node,
    async create() {
      session = await store.create(newSession({ maxSize: 2 ** 40, ...more }), createOptions)
      return takeRequests()
    },
    /** @param end offset in the file */
    async fragment(end: number, { publish = true } = {}) {
      const bytes = file.subarray(current().received, end)
      const isEnd = end === file.length
      session = await store.append(current(), body(bytes), { total: file.length, durable: isEnd, publish })
      return takeRequests()
    },
    async decide() {
      const lease = await store.acquireDecision?.(current(), { timeout: 0 })
      await store.accept(current(), { publish: true })
      await store.publish(current())
      await lease?.release()
      return takeRequests()
    },
    async publish() {
      await store.publish(current())
      return takeRequests()
    },
    async remove() {
      await store.remove(current())
      return takeRequests()
    },
  }
}

const file = noise(12_000)
const text = noise(700)

describe.each(['S3', 'Azure'] as const)('Requests to a service with %s semantics', (semantics) => {
  const isS3 = semantics === 'S3'
  const onlyS3 = (...requests: string[]): string[] => (isS3 ? requests : [])

  it.each([false, true])(
    'of a small file in one fragment: 5 or 6 in all (overwrite: %s)',
    async (overwrite) => {
      const { create, fragment, remove, fileOf } = server(text, { semantics }, { overwrite })
      const head = ['HEAD file']
      // At the same time.
      expect(await create()).toEqual(['PUT record', ...(overwrite ? [] : head)])
      expect(await fragment(700)).toEqual([
        ...(overwrite ? ['PUT record lease', ...head] : []),
        'PUT file',
        'PUT record published',
      ])
      expect(await remove()).toEqual(['DELETE record'])
      expect(fileOf()?.equals(text)).toBe(true)
    },
  )

  it('of a small file in several fragments', async () => {
    const { create, fragment, remove, fileOf } = server(text, { semantics })
    await create()
    expect(await fragment(300)).toEqual(['PUT tail', 'PUT record'])
    expect(await fragment(600)).toEqual(['PUT tail', 'PUT record'])
    expect(await fragment(700)).toEqual([
      'READ tail',
      'READ tail',
      'PUT file',
      'PUT record published',
      'DELETE tail',
    ])
    expect(await remove()).toEqual(['DELETE record'])
    expect(fileOf()?.equals(text)).toBe(true)
  })

  it.each([false, true])('of a file in three fragments (overwrite: %s)', async (overwrite) => {
    const { create, fragment, remove, fileOf } = server(file, { semantics }, { overwrite })
    await create()
    const first = ['PUT part', 'PUT record']
    expect(await fragment(4000)).toEqual([...onlyS3('PUT record starting', 'create upload'), ...first])
    expect(await fragment(8000)).toEqual(['PUT part', 'PUT record'])
    const last = ['complete', 'PUT record published']
    expect(await fragment(12_000)).toEqual(['PUT part', ...(overwrite ? ['HEAD file'] : []), ...last])
    expect(await remove()).toEqual(['DELETE record'])
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('of a file of several parts in one fragment: the record has them before they are published', async () => {
    const { create, fragment, fileOf } = server(file, { semantics })
    await create()
    expect(await fragment(12_000)).toEqual([
      ...onlyS3('PUT record starting', 'create upload'),
      ...['PUT part', 'PUT part', 'PUT part', 'PUT record'],
      ...['complete', 'PUT record published'],
    ])
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('of a file of 20 parts in one fragment: the record is written after 16 of them', async () => {
    const long = noise(200_000)
    const { create, fragment, fileOf } = server(long, { semantics, partSize: 10_000 })
    await create()
    const requests = (await fragment(long.length)).filter((name) => name !== 'PUT record starting')
    const records = requests.filter((name) => name.startsWith('PUT record'))
    expect(records).toEqual(['PUT record', 'PUT record published'])
    expect(requests.filter((name) => name === 'PUT part').length).toBeGreaterThan(17)
    expect(fileOf()?.equals(long)).toBe(true)
  })

  it('of a fragment that is too small for a part, and of the next one', async () => {
    const { create, fragment, fileOf } = server(file, { semantics })
    await create()
    await fragment(4000)
    expect(await fragment(4500)).toEqual(['PUT tail', 'PUT record'])
    expect(await fragment(7000)).toEqual(['READ tail', 'PUT part', 'PUT record', 'DELETE tail'])
    await fragment(12_000)
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('of a file that is published on Close-Session', async () => {
    const { create, fragment, publish, remove, fileOf } = server(file, { semantics })
    await create()
    await fragment(8000)
    expect(await fragment(12_000, { publish: false })).toEqual(['PUT part', 'PUT record'])
    expect(await publish()).toEqual(['complete', 'PUT record published'])
    expect(await remove()).toEqual(['DELETE record'])
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('of a small file that is published on Close-Session', async () => {
    const { create, fragment, publish } = server(text, { semantics })
    await create()
    expect(await fragment(700, { publish: false })).toEqual(['PUT tail', 'PUT record'])
    const published = ['READ tail', 'PUT file', 'PUT record published', 'DELETE tail']
    expect(await publish()).toEqual(published)
  })

  it('of a file that a hook reads: its objects are copied', async () => {
    const options = { mayReadBytes: true }
    const { create, fragment, decide, fileOf } = server(file, { semantics }, {}, options)
    await create()
    expect(await fragment(4000)).toEqual(['PUT part', 'PUT record'])
    expect(await fragment(8000)).toEqual(['PUT part', 'PUT record'])
    expect(await fragment(12_000)).toEqual(['PUT part', 'PUT record'])
    expect(await decide()).toEqual([
      ...['PUT record lease', 'PUT record lease accepted', 'HEAD file'],
      ...onlyS3('PUT record starting lease accepted', 'create upload'),
      'PUT record lease accepted',
      ...['copy part', 'copy part', 'copy part', 'complete'],
      ...['PUT record accepted published', 'DELETE part'],
    ])
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('of Cancel-Session', async () => {
    const { create, fragment, remove, bucket, uploads } = server(file, { semantics })
    await create()
    expect(await remove()).toEqual(['PUT record removed', 'LIST', 'DELETE record'])
    await create()
    await fragment(4000)
    const parts = ['PUT record removed', ...onlyS3('abort'), 'LIST', 'DELETE record']
    expect(await remove()).toEqual(parts)
    await create()
    await fragment(300)
    expect(await remove()).toEqual(['PUT record removed', 'LIST', 'DELETE tail', 'DELETE record'])
    expect([...bucket.keys()]).toEqual([])
    expect(await uploads()).toEqual([])
  })
})

describe.each(['S3', 'Azure'] as const)('Bytes that are sent to a service with %s semantics', (semantics) => {
  it.each([5, 8, 10, 13, 30])('each byte once in fragments of %d MiB', async (size) => {
    // Sizes as on the service itself.
    const minPartBytes = semantics === 'S3' ? 5 * MiB : 2 ** 16
    const large = randomBytes(2 * size * MiB + MiB)
    const options = { semantics, minPartBytes, partSize: 8 * MiB }
    const { create, fragment, node, fileOf } = server(large, options)
    await create()
    for (let end = 0; end < large.length; ) {
      end = Math.min(large.length, end + size * MiB)
      const requests = await fragment(end)
      expect(requests.filter((name) => /READ|copy/.test(name))).toEqual([])
    }
    expect(node.sentBytes).toBe(large.length)
    expect(fileOf()?.equals(large)).toBe(true)
  })

  it('has few parts: one for each fragment between the smallest part and the usual one', async () => {
    const minPartBytes = semantics === 'S3' ? 5 * MiB : 2 ** 16
    const large = randomBytes(24 * MiB)
    const { create, fragment, fileOf } = server(large, { semantics, minPartBytes, partSize: 8 * MiB })
    await create()
    for (const end of [5, 10, 18, 24]) {
      expect((await fragment(end * MiB)).filter((name) => name === 'PUT part')).toHaveLength(1)
    }
    expect(fileOf()?.equals(large)).toBe(true)
  })
})
