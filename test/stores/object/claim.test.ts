/** Claims of names, for services that ignore the condition of a completion: lib/stores/object/README.md. */
import { createHash } from 'node:crypto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { NewSession, Session } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { body, listed, loaded, newSession, refusal } from '../../support/store.ts'
import { type Node, sharedBucket, stopBefore } from './observed.ts'

const hour = 3_600_000
const large = noise(12_000)
const small = noise(700, 2)

const key = `.bits-sessions/claims/${createHash('sha256').update('a.bin').digest('hex')}`

const append = async ({ store }: Node, id: string, file: Buffer, publish = true): Promise<Session> =>
  store.append(await loaded(store, id), body(file), { total: file.length, durable: true, publish })

/** Two nodes, each with a session of the same name. */
async function twoSessions(more: Partial<NewSession> = {}) {
  const shared = sharedBucket({ semantics: 'S3', checksCompletion: false })
  const [one, other] = [shared.newNode(), shared.newNode()]
  const { id } = await one.store.create(newSession(more))
  const { id: otherId } = await other.store.create(newSession(more))
  return { ...shared, one, other, id, otherId }
}

describe('Claim of a name', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it.each([
    ['large, the other one too', large, large],
    ['large, the other one small', large, small],
    ['small, the other one large', small, large],
  ])('lets one of two sessions publish at a time: its file is %s', async (_, first, second) => {
    const { one, other, id, otherId, fileOf, bucket } = await twoSessions()
    const request = first === large ? 'complete' : 'PUT file'
    const resume = await stopBefore(one, request, () => append(one, id, first))
    // The other session has seen no file, either.
    await expect(append(other, otherId, second)).rejects.toEqual(refusal('session-busy'))
    await resume()
    expect(fileOf()?.equals(first)).toBe(true)
    const session = await loaded(other.store, otherId)
    const hasAll = session.received === second.length
    const again = hasAll ? other.store.publish(session) : append(other, otherId, second)
    await expect(again).rejects.toEqual(refusal('destination-exists'))
    expect(fileOf()?.equals(first)).toBe(true)
    expect(bucket.has(key)).toBe(false)
  })

  it('is waited for, so that the client need not send its last fragment again', async () => {
    const { one, id, otherId, newNode, fileOf } = await twoSessions({ overwrite: true })
    const patient = newNode({ renew: 4, dead: 1e6, poll: 1 })
    const resume = await stopBefore(one, 'complete', () => append(one, id, large))
    const waiting = append(patient, otherId, small)
    await expect.poll(() => patient.requests.filter((name) => name === 'PUT claim').length).toBeGreaterThan(3)
    await resume()
    expect(await waiting).toMatchObject({ state: 'published' })
    expect(fileOf()?.equals(small)).toBe(true)
  })

  it('lets the second session replace the file with overwrite', async () => {
    const { one, other, id, otherId, fileOf } = await twoSessions({ overwrite: true })
    const second = noise(9000, 3)
    const resume = await stopBefore(one, 'complete', () => append(one, id, large))
    await expect(append(other, otherId, second)).rejects.toEqual(refusal('session-busy'))
    await resume()
    expect(fileOf()?.equals(large)).toBe(true)
    await other.store.publish(await loaded(other.store, otherId))
    expect(fileOf()?.equals(second)).toBe(true)
  })

  it.each(['published', 'missing', 'removed'])(
    'that a node has left is replaced if its session is %s',
    async (state) => {
      const { one, other, id, otherId, service, fileOf, recordOf } = await twoSessions({ overwrite: true })
      if (state === 'published') await append(one, id, large)
      else {
        // With an upload that is in no record, so that the record is kept.
        one.next('create upload', async (send) => ({
          ...((await send()) as object),
          isRepeated: state === 'removed',
        }))
        await append(one, id, large, false)
        await one.store.remove(await loaded(one.store, id))
      }
      expect(recordOf(id)?.[state]).toBe(state === 'missing' ? undefined : true)
      await service.put(key, [Buffer.from(id)])
      await append(other, otherId, small)
      expect(fileOf()?.equals(small)).toBe(true)
      expect(await service.get(key)).toBeUndefined()
    },
  )

  it('of a session that is being removed is replaced after its upload is aborted', async () => {
    const { one, other, id, otherId, fileOf, newNode } = await twoSessions()
    const third = newNode()
    const complete = await append(one, id, large, false)
    const resume = await stopBefore(one, 'complete', () => one.store.publish(complete))
    // The node that removes it stops after it has marked the record.
    await stopBefore(third, 'abort', async () => third.store.remove(await loaded(third.store, id)))
    await append(other, otherId, large.subarray(0, 9000))
    await expect(resume()).rejects.toThrow()
    expect(fileOf()?.equals(large.subarray(0, 9000))).toBe(true)
  })

  it('of an unfinished session is replaced after an hour', async () => {
    const { one, other, id, otherId, service, fileOf } = await twoSessions()
    await append(one, id, large, false)
    await service.put(key, [Buffer.from(id)])
    await expect(append(other, otherId, small)).rejects.toEqual(refusal('session-busy'))
    const now = Date.now()
    vi.useFakeTimers({ now: now + hour - 1000, toFake: ['Date'] })
    await expect(append(other, otherId, small)).rejects.toEqual(refusal('session-busy'))
    vi.setSystemTime(now + hour + 1000)
    await append(other, otherId, small)
    expect(fileOf()?.equals(small)).toBe(true)
  })

  it('stays while a failed completion may still be carried out', async () => {
    const { one, other, id, otherId, fileOf, bucket } = await twoSessions()
    let completeLate = async (): Promise<unknown> => undefined
    one.next('complete', async (send) => {
      completeLate = send
      throw new Error('timed out')
    })
    await expect(append(one, id, large)).rejects.toThrow('timed out')
    await expect(append(other, otherId, large)).rejects.toEqual(refusal('session-busy'))
    await completeLate()
    await one.store.publish(await loaded(one.store, id))
    expect(bucket.has(key)).toBe(false)
    const session = await loaded(other.store, otherId)
    await expect(other.store.publish(session)).rejects.toEqual(refusal('destination-exists'))
    expect(fileOf()?.equals(large)).toBe(true)
  })

  it('is that of the same session: it continues', async () => {
    const { one, id, service, fileOf } = await twoSessions()
    await service.put(key, [Buffer.from(id)])
    await append(one, id, large)
    expect(fileOf()?.equals(large)).toBe(true)
  })

  it('is replaced by one of two sessions at once', async () => {
    const { one, other, id, otherId, service, fileOf } = await twoSessions()
    await service.put(key, [Buffer.from(newSession().id)])
    const [complete, otherComplete] = [
      await append(one, id, large, false),
      await append(other, otherId, noise(12_000, 4), false),
    ]
    const resume = await stopBefore(other, 'HEAD claim', () => other.store.publish(otherComplete))
    // The other node has read the claim, and continues when this one has replaced it.
    one.next('complete', async (send) => {
      await expect(resume()).rejects.toEqual(refusal('session-busy'))
      return send()
    })
    await one.store.publish(complete)
    expect(fileOf()?.equals(large)).toBe(true)
  })

  it('that a node has left is removed by a sweep a day later', async () => {
    const { one, id, otherId, service } = await twoSessions()
    await service.put(key, [Buffer.from(id)])
    const now = Date.now()
    vi.useFakeTimers({ now: now + 24 * hour - 1000, toFake: ['Date'] })
    expect(await listed(one.store)).toEqual([id, otherId].sort())
    expect(await service.get(key)).toBeDefined()
    vi.setSystemTime(now + 24 * hour + 1000)
    expect(await listed(one.store)).toEqual([id, otherId].sort())
    expect(await service.get(key)).toBeUndefined()
  })
})
