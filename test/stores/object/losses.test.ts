/** Bytes, answers and parts that are lost or overwritten: lib/stores/object/README.md, rules 5 and 6, and "Publication". */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ConditionFailed } from '../../../lib/stores/object/service/service.ts'
import type { CreateOptions, NewSession, Session, Store } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, loaded, newSession, refusal } from '../../support/store.ts'
import { sharedBucket } from './observed.ts'

const file = noise(12_000)
const total = file.length
const lostAnswer = new Error('the answer was lost')

/** Appends the bytes of the file up to `end`. */
const appendTo = (store: Store, session: Session, end: number, bytes = file): Promise<Session> =>
  store.append(session, body(bytes.subarray(session.received, end)), {
    total: bytes.length,
    durable: true,
    publish: true,
  })

/** Sends the rest of the file in fragments of 4000 bytes, as a client that repeats a packet when it gets another offset. */
async function finish(store: Store, id: string, bytes = file): Promise<void> {
  for (let i = 0; i < 20; i += 1) {
    const session = await loaded(store, id)
    if (session.state === 'published') return
    if (session.received === bytes.length) {
      await store.publish(session)
      continue
    }
    await appendTo(store, session, session.received + 4000, bytes).catch((error) => {
      if (error.code !== 'out-of-sync') throw error
    })
  }
  throw new Error('The file is not finished')
}

/** A session of which two nodes know the first `end` bytes. */
async function started(
  semantics: 'S3' | 'Azure',
  end: number,
  more: Partial<NewSession> = {},
  options: CreateOptions = {},
) {
  const shared = sharedBucket({ semantics })
  const [one, other] = [shared.newNode(), shared.newNode()]
  const { id } = await one.store.create(newSession({ ...more }), options)
  if (end > 0) await appendTo(one.store, await loaded(one.store, id), end)
  return { ...shared, one, other, id }
}

describe.each(['S3', 'Azure'] as const)(
  'Upload that is missing on a service with %s semantics',
  (semantics) => {
    /** The upload is completed, or its blocks are discarded, by another program. */
    async function lose({ service, uploads }: Awaited<ReturnType<typeof started>>): Promise<void> {
      if (semantics === 'S3') for (const id of await uploads()) await service.abortUpload('a.bin', id)
      else await service.put('a.bin', [])
      await service.remove(['a.bin'])
    }

    it('is reset to byte 0 if its record does not change, and can be finished', async () => {
      const test = await started(semantics, 8000)
      const { one, id, recordOf, fileOf } = test
      await lose(test)
      const session = await loaded(one.store, id)
      const before = performance.now()
      await expect(appendTo(one.store, session, total)).rejects.toEqual(refusal('out-of-sync'))
      // No node that has published it is about to write that.
      expect(performance.now() - before).toBeGreaterThanOrEqual(25)
      expect(await loaded(one.store, id)).toMatchObject({ state: 'lost', received: 0 })
      const { strays, separate, layout } = recordOf(id)
      expect({ strays, separate, layout }).toEqual(semantics === 'S3' ? { strays: true } : { separate: true })
      await finish(one.store, id)
      expect(fileOf()?.equals(file)).toBe(true)
    })

    it('is reset once: the bytes that the client has sent again to another node are kept', async () => {
      const test = await started(semantics, 8000)
      const { one, id, newNode } = test
      const patient = newNode({ renew: 4, dead: 1e6, poll: 1 })
      const [session, stale] = [await loaded(one.store, id), await loaded(patient.store, id)]
      await lose(test)
      const late = appendTo(patient.store, stale, total)
      late.catch(() => {})
      await expect
        .poll(() => patient.requests.filter((name) => name === 'GET record').length)
        .toBeGreaterThan(3)
      patient.next('GET record', async (send) => {
        await expect(appendTo(one.store, session, total)).rejects.toEqual(refusal('out-of-sync'))
        await appendTo(one.store, await loaded(one.store, id), 4000)
        return send()
      })
      await expect(late).rejects.toEqual(refusal('out-of-sync'))
      expect(await loaded(one.store, id)).toMatchObject({ state: 'receiving', received: 4000 })
    })

    it('after the decision of a hook, is reset with the decision', async () => {
      const test = await started(semantics, 8000)
      const { one, id } = test
      const bytes = body(file.subarray(8000))
      const complete = await one.store.append(await loaded(one.store, id), bytes, { total, durable: true })
      await one.store.accept(complete, { publish: true })
      await lose(test)
      await expect(one.store.publish(complete)).rejects.toEqual(refusal('out-of-sync'))
      const after = await loaded(one.store, id)
      expect(after).toMatchObject({ state: 'lost', received: 0 })
      expect(after).not.toHaveProperty('decision')
    })

    it('is not reset if another node that has published it writes that meanwhile', async () => {
      const { one, other, id, bucket, recordOf } = await started(semantics, 8000)
      const stale = await loaded(other.store, id)
      const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
      one.next('PUT record published', async (send) => {
        reached.resolve()
        await resume.promise
        return send()
      })
      const publishing = appendTo(one.store, await loaded(one.store, id), total)
      await reached.promise
      // A consumer removes the file, and the client sends its last fragment to the other node.
      bucket.delete('a.bin')
      const waits = withResolvers<void>()
      other.next('GET record', async (send) => {
        const found = await send()
        waits.resolve()
        return found
      })
      const appending = appendTo(other.store, stale, total)
      await waits.promise
      resume.resolve()
      await publishing
      await expect(appending).rejects.toEqual(refusal('out-of-sync'))
      expect(recordOf(id)).toMatchObject({ published: true })
      expect(recordOf(id)).not.toHaveProperty('strays')
      expect(await loaded(other.store, id)).toMatchObject({ state: 'published' })
      expect(bucket.has('a.bin')).toBe(false)
    })

    it('was completed by a request whose answer was lost: published once', async () => {
      const { one, id, bucket } = await started(semantics, 8000)
      let completions = 0
      const set = bucket.set.bind(bucket)
      bucket.set = (key, value) => {
        if (key === 'a.bin') completions += 1
        return set(key, value)
      }
      one.next('complete', async (send) => {
        await send()
        throw lostAnswer
      })
      await expect(appendTo(one.store, await loaded(one.store, id), total)).rejects.toThrow(lostAnswer)
      one.takeRequests()
      const session = await loaded(one.store, id)
      if (session.received < total)
        await expect(appendTo(one.store, session, total)).rejects.toEqual(refusal('out-of-sync'))
      else await one.store.publish(session)
      expect(one.takeRequests()).toContain('HEAD file')
      expect(await loaded(one.store, id)).toMatchObject({ state: 'published' })
      expect(completions).toBe(1)
      await one.store.remove(await loaded(one.store, id))
      expect([...bucket.keys()]).toEqual(['a.bin'])
    })

    it('was completed by a node that was killed: the next packet writes that, and does not wait', async () => {
      const { one, other, id, recordOf, fileOf } = await started(semantics, 8000)
      const session = await loaded(other.store, id)
      await new Promise<void>((resolve) => {
        one.next('PUT record published', () => {
          resolve()
          return new Promise(() => {})
        })
        void loaded(one.store, id).then((current) => appendTo(one.store, current, total))
      })
      const before = fileOf()
      const appending = appendTo(other.store, session, total)
      if (semantics === 'S3') await expect(appending).rejects.toEqual(refusal('out-of-sync'))
      else await appending
      expect(other.requests).toContain('PUT record published')
      expect(other.requests.filter((name) => name === 'GET record')).toHaveLength(1)
      expect(recordOf(id)).toMatchObject({ published: true })
      expect(fileOf()).toBe(before)
    })

    it('was completed by another node: a packet that continues at the old offset publishes nothing', async () => {
      const { one, other, id, bucket } = await started(semantics, 8000)
      const stale = await loaded(other.store, id)
      await appendTo(one.store, await loaded(one.store, id), total)
      const version = bucket.get('a.bin')?.version
      // On Azure the block is written, but the file is there already.
      const appending = appendTo(other.store, stale, total)
      if (semantics === 'S3') await expect(appending).rejects.toEqual(refusal('out-of-sync'))
      else expect(await appending).toMatchObject({ state: 'published' })
      expect(await loaded(other.store, id)).toMatchObject({ state: 'published' })
      expect(bucket.get('a.bin')?.version).toBe(version)
    })
  },
)

describe('Part of an upload to S3 that was overwritten', () => {
  it('is found when the record has changed: the bytes before it count', async () => {
    const { one, other, id, recordOf, fileOf } = await started('S3', 4000)
    const stale = await loaded(one.store, id)
    // The client has given up the fragment at the first node, and sends a longer one to the other node.
    const [reached, resume] = [withResolvers<void>(), withResolvers<void>()]
    one.next('PUT part', async (send) => {
      reached.resolve()
      await resume.promise
      return send()
    })
    const late = appendTo(one.store, stale, 7000)
    await reached.promise
    await appendTo(other.store, await loaded(other.store, id), 8000)
    resume.resolve()
    await expect(late).rejects.toEqual(refusal('out-of-sync'))
    expect(one.takeRequests()).toContain('list parts')
    expect(recordOf(id).layout.parts).toHaveLength(1)
    expect(await loaded(other.store, id)).toMatchObject({ state: 'receiving', received: 4000 })
    await finish(other.store, id)
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('is not looked for if both nodes have written the same parts', async () => {
    const { one, other, id } = await started('S3', 4000)
    const stale = await loaded(one.store, id)
    one.next('PUT record', async (send) => {
      await appendTo(other.store, await loaded(other.store, id), 8000)
      return send()
    })
    await expect(appendTo(one.store, stale, 8000)).rejects.toEqual(refusal('out-of-sync'))
    expect(one.requests).not.toContain('list parts')
    expect(await loaded(other.store, id)).toMatchObject({ received: 8000 })
  })

  it('is not reset if it is the one of the record that has overwritten the other', async () => {
    const { one, other, id } = await started('S3', 4000)
    const stale = await loaded(one.store, id)
    one.next('PUT part', async (send) => {
      const tag = await send()
      await appendTo(other.store, await loaded(other.store, id), 8000)
      return tag
    })
    await expect(appendTo(one.store, stale, 7000)).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(other.store, id)).toMatchObject({ received: 8000 })
  })

  it.each([
    ['the last fragment', true],
    ['Close-Session', false],
  ])('is found by the completion of %s, and nothing wrong is published', async (_, publish) => {
    const { service, one, id, uploads, fileOf } = await started('S3', 8000)
    const [upload = ''] = await uploads()
    const session = await loaded(one.store, id)
    const overwrite = () => service.putPart('a.bin', { upload, number: 2 }, [file.subarray(4000, 7000)])
    if (publish) {
      await overwrite()
      await expect(appendTo(one.store, session, total)).rejects.toEqual(refusal('out-of-sync'))
    } else {
      const options = { total, durable: true }
      const complete = await one.store.append(session, body(file.subarray(8000)), options)
      await one.store.accept(complete, { publish: true })
      await overwrite()
      await expect(one.store.publish(complete)).rejects.toEqual(refusal('out-of-sync'))
    }
    expect(fileOf()).toBeUndefined()
    const after = await loaded(one.store, id)
    expect(after).toMatchObject({ state: 'receiving', received: 4000 })
    expect(after).not.toHaveProperty('decision')
    await finish(one.store, id)
    expect(fileOf()?.equals(file)).toBe(true)
    expect(await uploads()).toEqual([])
  })

  it('is reset to byte 0 if it is the first one', async () => {
    const { service, one, id, uploads, fileOf } = await started('S3', 8000)
    const [upload = ''] = await uploads()
    await service.putPart('a.bin', { upload, number: 1 }, [file.subarray(0, 3000)])
    await expect(appendTo(one.store, await loaded(one.store, id), total)).rejects.toEqual(
      refusal('out-of-sync'),
    )
    expect(await loaded(one.store, id)).toMatchObject({ received: 0 })
    await finish(one.store, id)
    expect(fileOf()?.equals(file)).toBe(true)
    expect(await uploads()).toEqual([])
  })
})

describe.each(['S3', 'Azure'] as const)('Tail object that is missing, with %s semantics', (semantics) => {
  /** The session has 4000 bytes in a part, and 500 in a tail object. */
  async function withTail() {
    const test = await started(semantics, 4000)
    await appendTo(test.one.store, await loaded(test.one.store, test.id), 4500)
    return test
  }

  it('resets a session whose record has not changed', async () => {
    const { one, id, bucket, service, fileOf } = await withTail()
    const session = await loaded(one.store, id)
    await service.remove([...bucket.keys()].filter((key) => key.includes('/tail-')))
    await expect(appendTo(one.store, session, 8000)).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(one.store, id)).toMatchObject({ state: 'lost', received: 0 })
    await finish(one.store, id)
    expect(fileOf()?.equals(file)).toBe(true)
  })

  it('means that a record is old if another node has changed it: no bytes are lost', async () => {
    const { one, other, id, recordOf } = await withTail()
    const stale = await loaded(other.store, id)
    await appendTo(one.store, await loaded(one.store, id), 8000)
    const { revision } = recordOf(id)
    await expect(appendTo(other.store, stale, 8000)).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(other.store, id)).toMatchObject({ state: 'receiving', received: 8000 })
    expect(recordOf(id).revision).toBe(revision)
  })

  it('of a small file, in the request that publishes it, resets the session', async () => {
    const { one, id, service, bucket } = await started(semantics, 500)
    const session = await loaded(one.store, id)
    await service.remove([...bucket.keys()].filter((key) => key.includes('/tail-')))
    const bytes = file.subarray(500, 700)
    const options = { total: 700, durable: true, publish: true }
    await expect(one.store.append(session, body(bytes), options)).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(one.store, id)).toMatchObject({ state: 'lost', received: 0 })
    expect(bucket.has('a.bin')).toBe(false)
  })

  it('of a small file, when it is published on Close-Session, resets the session', async () => {
    const { one, id, service, bucket } = await started(semantics, 0)
    const options = { total: 500, durable: true }
    const complete = await one.store.append(await loaded(one.store, id), body(file.subarray(0, 500)), options)
    await service.remove([...bucket.keys()].filter((key) => key.includes('/tail-')))
    await expect(one.store.publish(complete)).rejects.toEqual(refusal('out-of-sync'))
    expect(await loaded(one.store, id)).toMatchObject({ state: 'lost', received: 0 })
  })
})

describe('Two sessions of one name on Azure', () => {
  it('the one whose blocks are discarded publishes nothing wrong, and becomes separate', async () => {
    const { one, other, id, recordOf, fileOf, bucket } = await started('Azure', 8000, { overwrite: true })
    const second = noise(9000, 2)
    const { id: otherId } = await other.store.create(newSession({ overwrite: true }))
    await finish(other.store, otherId, second)
    expect(fileOf()?.equals(second)).toBe(true)
    const session = await loaded(one.store, id)
    await expect(appendTo(one.store, session, total)).rejects.toEqual(refusal('out-of-sync'))
    expect(fileOf()?.equals(second)).toBe(true)
    expect(recordOf(id)).toMatchObject({ separate: true })
    await appendTo(one.store, await loaded(one.store, id), 8000)
    // Another small file of the name does no harm any more.
    const { id: third } = await other.store.create(newSession({ overwrite: true }))
    await appendTo(other.store, await loaded(other.store, third), 500, second.subarray(0, 500))
    const complete = await appendTo(one.store, await loaded(one.store, id), total)
    await one.store.publish(complete)
    expect(fileOf()?.equals(file)).toBe(true)
    for (const ended of [id, otherId, third]) await one.store.remove(await loaded(one.store, ended))
    expect([...bucket.keys()]).toEqual(['a.bin'])
  })

  it('without overwrite the second one gets destination-exists', async () => {
    const { one, other, id, fileOf } = await started('Azure', 8000)
    const second = noise(9000, 2)
    const { id: otherId } = await other.store.create(newSession())
    await finish(other.store, otherId, second)
    const session = await loaded(one.store, id)
    const error = await appendTo(one.store, session, total).catch((reason) => reason)
    expect(error).not.toBeInstanceOf(ConditionFailed)
    await expect(finish(one.store, id)).rejects.toEqual(refusal('destination-exists'))
    expect(fileOf()?.equals(second)).toBe(true)
  })
})

describe('Small file that another node has published, and a consumer has removed', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is not published again by a node whose cached record is older than five seconds', async () => {
    vi.useFakeTimers({ now: Date.now(), toFake: ['performance'] })
    const { newNode, bucket, fileOf } = sharedBucket({ semantics: 'S3' })
    const [one, other] = [newNode(), newNode()]
    const cached = await one.store.create(newSession())
    const options = { total: 3, durable: true, publish: true }
    await other.store.append(await loaded(other.store, cached.id), body('abc'), options)
    bucket.delete('a.bin')
    vi.advanceTimersByTime(5001)
    await expect(one.store.append(cached, body('abc'), options)).rejects.toEqual(refusal('out-of-sync'))
    expect(fileOf()).toBeUndefined()
    expect(await loaded(one.store, cached.id)).toMatchObject({ state: 'published', received: 3 })
  })
})
