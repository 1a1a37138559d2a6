/** Sizes of parts, memory and records of long uploads. */
import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { body, loaded, newSession } from '../../support/store.ts'
import { sharedBucket } from './observed.ts'

/** Appends the next fragment of a file. */
async function appendNext(
  store: Store,
  id: string,
  file: Buffer,
  size: number,
  options = {},
): Promise<boolean> {
  const session = await loaded(store, id)
  const { received } = session
  const bytes = body(...chunksOf(file.subarray(received, received + size)))
  const after = await store.append(session, bytes, {
    total: file.length,
    durable: true,
    publish: true,
    ...options,
  })
  return after.state === 'published'
}

/** Chunks of odd sizes. */
function chunksOf(bytes: Buffer, size = 777): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  )
}

describe('Parts of equal size', () => {
  it.each([
    ['larger', 6000],
    ['smaller', 2500],
  ])(
    'are those of the first part, in fragments of odd sizes, also at a node with a %s part size',
    async (_, size) => {
      const { newNode, recordOf, fileOf, service } = sharedBucket({ semantics: 'S3', equalParts: true })
      expect(service.equalParts).toBe(true)
      const [one, other] = [newNode(), newNode(undefined, size)]
      const file = noise(31_000)
      const { id } = await one.store.create(newSession())
      const fragments = [3, 4100, 700, 5003, 1, 9001, 3999, 4001]
      let isPublished = false
      for (let i = 0; !isPublished; i += 1) {
        const { store } = i % 2 === 0 ? one : other
        isPublished = await appendNext(store, id, file, fragments[i % fragments.length] ?? 1)
        const sizes = (recordOf(id).layout?.parts ?? []).map(([bytes]: [number]) => bytes)
        expect(new Set(sizes).size).toBeLessThanOrEqual(1)
      }
      // The service refuses other parts.
      expect(fileOf()?.equals(file)).toBe(true)
    },
  )

  it('are those of one node whose tail objects were larger than the part size of the next one', async () => {
    const { newNode, recordOf, fileOf } = sharedBucket({ semantics: 'S3', equalParts: true })
    const [one, other] = [newNode(undefined, 6000), newNode(undefined, 3500)]
    const file = noise(20_000)
    const { id } = await one.store.create(newSession())
    await appendNext(one.store, id, file, 5000)
    await appendNext(other.store, id, file, 7000)
    expect(recordOf(id).layout.parts.map(([bytes]: [number]) => bytes)).toEqual([5000, 5000])
    while (!(await appendNext(one.store, id, file, 4999)));
    expect(fileOf()?.equals(file)).toBe(true)
  })
})

describe.each(['S3', 'Azure'] as const)('Long upload to a service with %s semantics', (semantics) => {
  it('writes records that have a twentieth of its bytes, with about 50 bytes for each part', async () => {
    const total = 16 * 2 ** 20
    const minPartBytes = 1000
    const { newNode, recordOf, bucket, fileOf } = sharedBucket({ semantics, minPartBytes, partSize: 1000 })
    const node = newNode()
    const { store } = node
    const { put } = node.service
    let recordBytes = 0
    Object.assign(node.service, {
      async put(...args: Parameters<typeof put>) {
        if (args[0].includes('/records/')) recordBytes += args[1][0]?.length ?? 0
        return put(...args)
      },
    })
    const file = randomBytes(total)
    const { id } = await store.create(newSession({ maxSize: total }))
    // The smallest fragments that are parts.
    const size = Math.ceil(Math.sqrt((20 * 45 * total) / 2))
    for (let i = 0; i < Math.floor(total / size); i += 1) await appendNext(store, id, file, size)
    const { parts, tail } = recordOf(id).layout
    expect(parts).toHaveLength(Math.floor(total / size))
    expect(tail).toEqual([])
    const record = bucket.get(`.bits-sessions/records/${id}`)?.bytes.length ?? 0
    expect(record / parts.length).toBeLessThan(55)
    // Besides the parts a record has about 500 bytes.
    expect(recordBytes - 500 * parts.length).toBeLessThan(total / 18)
    expect(await appendNext(store, id, file, size)).toBe(true)
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('is written in small parts or tail objects while many fragments share the memory', async () => {
    const memory = 2 ** 20
    const partSize = 600_000
    const { newNode, service, bucket } = sharedBucket({ semantics, minPartBytes: 200_000, partSize, memory })
    let [writing, most] = [0, 0]
    const node = newNode()
    const count = async <Result>(
      chunks: readonly Uint8Array[],
      send: () => Promise<Result>,
    ): Promise<Result> => {
      const size = chunks.reduce((sum, { length }) => sum + length, 0)
      writing += size
      most = Math.max(most, writing)
      // The bodies are faster than the service.
      for (let i = 0; i < 20; i += 1) await turn()
      return send().finally(() => {
        writing -= size
      })
    }
    const { put, putPart } = node.service
    Object.assign(node.service, {
      put: (...args: Parameters<typeof put>) => count(args[1], () => put(...args)),
      putPart: (...args: Parameters<typeof putPart>) => count(args[2], () => putPart(...args)),
    })
    expect(service.minPartBytes).toBe(200_000)
    const file = randomBytes(2_000_000)
    const sessions = Array.from({ length: 12 }, (_, i) => newSession({ name: `${i}.bin`, maxSize: 2 ** 30 }))
    for (const session of sessions) await node.store.create(session)
    await Promise.all(sessions.map(({ id }) => appendNext(node.store, id, file, 1_300_000)))
    await Promise.all(sessions.map(({ id }) => appendNext(node.store, id, file, 1_300_000)))
    for (const { name } of sessions) expect(bucket.get(name)?.bytes.equals(file)).toBe(true)
    // The buffers, and as much again for the bytes that are read back.
    expect(most).toBeLessThanOrEqual(2 * memory)
  })
})
