/** The end of a session: lib/stores/object/README.md, "Removal". */
import { describe, expect, it } from 'vitest'
import type { Session } from '../../../lib/stores/store.ts'
import { noise } from '../../support/bytes.ts'
import { body, complete, listed, loaded, newSession, refusal } from '../../support/store.ts'
import { type Node, sharedBucket } from './observed.ts'

const file = noise(12_000)
const never = new Promise<never>(() => {})

/** A session with parts, a tail object, and a reply. */
async function unfinished(semantics: 'S3' | 'Azure', mayReadBytes: boolean) {
  const shared = sharedBucket({ semantics })
  const [one, other] = [shared.newNode(), shared.newNode()]
  const { id } = await one.store.create(newSession(), { mayReadBytes })
  const append = async (end: number): Promise<Session> => {
    const session = await loaded(one.store, id)
    const bytes = body(file.subarray(session.received, end))
    return one.store.append(session, bytes, { total: file.length, durable: true })
  }
  await append(4000)
  await append(4100)
  await one.store.saveReply(await loaded(one.store, id), body('a reply'))
  one.takeRequests()
  return { ...shared, one, other, id }
}

/** A node that is killed before, or after, the request with this index. */
async function dieAt(
  node: Node,
  index: number,
  isSent: boolean,
  work: () => Promise<unknown>,
): Promise<boolean> {
  let isDead = false
  await new Promise<void>((resolve) => {
    const { service } = node
    const names = ['put', 'remove', 'abortUpload'] as const
    let count = 0
    for (const name of names) {
      const send = service[name] as (...args: unknown[]) => Promise<unknown>
      Object.assign(service, {
        async [name](...args: unknown[]) {
          const isLast = count === index
          count += 1
          if (isLast && isSent) await send(...args)
          if (isLast) isDead = true
          if (isDead) {
            resolve()
            return never
          }
          return send(...args)
        },
      })
    }
    void work().then(() => resolve())
  })
  return isDead
}

describe.each(['S3', 'Azure'] as const)('Removal of a session with %s semantics', (semantics) => {
  it.each([false, true])(
    'marks the record, then removes the bytes, then the record (separate: %s)',
    async (separate) => {
      const { one, id, bucket, uploads } = await unfinished(semantics, separate)
      await one.store.remove(await loaded(one.store, id))
      const hasUpload = semantics === 'S3' && !separate
      expect(one.takeRequests()).toEqual([
        'GET record',
        'PUT record removed',
        ...(hasUpload ? ['abort'] : []),
        'LIST',
        separate ? 'DELETE part, reply, tail' : 'DELETE reply, tail',
        'DELETE record',
      ])
      expect([...bucket.keys()]).toEqual([])
      expect(await uploads()).toEqual([])
    },
  )

  it('is finished by a sweep if its node is killed at any request', async () => {
    for (const separate of [false, true]) {
      for (let index = 0, wasKilled = true; wasKilled; index += 1) {
        for (const isSent of [false, true]) {
          const { one, other, id, bucket, uploads } = await unfinished(semantics, separate)
          const session = await loaded(one.store, id)
          wasKilled = await dieAt(one, index, isSent, () => one.store.remove(session))
          const step = `request ${index}, sent: ${isSent}, separate: ${separate}`
          if (index === 0 && !isSent) {
            // The session is as it was.
            expect(await listed(other.store), step).toEqual([id])
            await other.store.remove(await loaded(other.store, id))
          } else {
            expect(await other.store.load(id), step).toBeUndefined()
            expect(await listed(other.store), step).toEqual([])
          }
          expect([...bucket.keys()], step).toEqual([])
          expect(await uploads(), step).toEqual([])
        }
      }
    }
  })

  it('of a published session removes its reply, and needs no list without one', async () => {
    const { newNode, bucket } = sharedBucket({ semantics })
    const one = newNode()
    const session = await complete(one.store, 'abc')
    await one.store.saveReply(session, body('a reply'))
    await one.store.publish(session)
    one.takeRequests()
    await one.store.remove(await loaded(one.store, session.id))
    expect(one.takeRequests()).toEqual(['GET record', 'LIST', 'DELETE reply', 'DELETE record'])
    expect([...bucket.keys()]).toEqual(['a.bin'])
  })

  it('makes each update of another node fail', async () => {
    const { one, other, id, bucket, uploads } = await unfinished(semantics, false)
    const stale = await loaded(other.store, id)
    await one.store.remove(await loaded(one.store, id))
    const options = { total: file.length, durable: true }
    const bytes = file.subarray(4100, 8000)
    // The tail is missing, so the session is loaded again.
    await expect(other.store.append(stale, body(bytes), options)).rejects.toEqual(refusal('out-of-sync'))
    expect(await other.store.load(id)).toBeUndefined()
    await expect(other.store.accept(stale, { publish: true })).rejects.toThrow()
    await expect(other.store.reject(stale, 'late')).rejects.toThrow()
    expect(await uploads()).toEqual([])
    expect(await listed(other.store)).toEqual([])
    expect([...bucket.keys()]).toEqual([])
  })

  it('fails if another node has advanced the session, and then removes nothing', async () => {
    const { one, other, id, recordOf } = await unfinished(semantics, false)
    const stale = await loaded(other.store, id)
    const session = await loaded(one.store, id)
    const options = { total: file.length, durable: true }
    await one.store.append(session, body(file.subarray(4100, 8000)), options)
    other.takeRequests()
    await expect(other.store.remove(stale)).rejects.toEqual(refusal('out-of-sync'))
    expect(other.takeRequests()).toEqual(['PUT record removed', 'GET record'])
    expect(recordOf(id)).not.toHaveProperty('removed')
    expect(await loaded(one.store, id)).toMatchObject({ received: 8000 })
  })

  it('by two nodes at once succeeds at both', async () => {
    const { one, other, id, bucket } = await unfinished(semantics, false)
    const [session, otherSession] = [await loaded(one.store, id), await loaded(other.store, id)]
    await Promise.all([one.store.remove(session), other.store.remove(otherSession)])
    expect([...bucket.keys()]).toEqual([])
  })
})
