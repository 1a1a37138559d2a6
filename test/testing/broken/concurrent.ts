import type { Session, Store } from '../../../lib/index.ts'
import { BitsError } from '../../../lib/protocol/errors.ts'
import { type Broken, gather, inSharedMemory, once } from './kit.ts'

const section = 'two shared stores that use one session at the same time'

/** The session as it is now: a change with it is made without a condition. */
async function current(store: Store, session: Session): Promise<Session> {
  return (await store.load(session.id)) ?? session
}

export const conflicts: Broken[] = [
  inSharedMemory(
    'append() has no condition',
    `${section} > hold the bytes of a fragment once that both append`,
    (good) => ({
      async append(session, body, options) {
        const chunks = await gather(body)
        return good
          .append(session, once(chunks), options)
          .catch(async () => good.append(await current(good, session), once(chunks), options))
      },
    }),
  ),
  inSharedMemory(
    'append() of a stale session rejects with another error',
    `${section} > reject a stale append() with out-of-sync, and the next one succeeds`,
    (good) => ({
      append: (session, body, options) =>
        good.append(session, body, options).catch((error) => {
          throw new BitsError('store-failed', error.message)
        }),
    }),
  ),
  inSharedMemory(
    'remove() has no condition',
    `${section} > reject a stale remove() with out-of-sync, and keep the session`,
    (good) => ({ remove: async (session) => good.remove(await current(good, session)) }),
  ),
  inSharedMemory(
    'publish() rejects after another process has published',
    `${section} > publish a session once when both call publish()`,
    (good) => ({
      async publish(session) {
        const { state } = await current(good, session)
        if (state === 'published' && session.state !== 'published') throw new BitsError('destination-exists')
        await good.publish(session)
      },
    }),
  ),
  inSharedMemory(
    'acquireDecision() does not exclude another process',
    `${section} > acquire the decision one after the other`,
    () => ({ acquireDecision: async (session) => ({ session, release: async () => {} }) }),
  ),
  ...(['decided', 'rejected'] as const).map((what) =>
    inSharedMemory(
      `acquireDecision() returns the session as it was before another process has ${what}`,
      `${section} > get the session that the other one has ${what}`,
      (good) => ({
        acquireDecision: async (session, options) => {
          const lease = await good.acquireDecision?.(session, options)
          return { session, release: async () => lease?.release() }
        },
      }),
    ),
  ),
  inSharedMemory(
    'acquireDecision() waits until its timeout although its signal is aborted',
    `${section} > stop waiting for the decision when aborted`,
    (good) => ({
      acquireDecision: (session) =>
        good.acquireDecision?.(session, { timeout: 1 }) ?? Promise.reject(new Error('no leases')),
    }),
  ),
  inSharedMemory(
    'the session of a lease cannot be published',
    `${section} > publish after they acquired the decision`,
    (good) => ({
      publish: async (session) => {
        if ((await current(good, session)).state === 'receiving') throw new BitsError('out-of-sync')
        await good.publish(session)
      },
    }),
  ),
]
