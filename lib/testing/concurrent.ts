import assert from 'node:assert/strict'
import type { DecisionLease, Session, Store } from '../stores/store.ts'
import { type ContractTest, type Fixture, type Section, test } from './contract-test.ts'
import {
  assertBytes,
  assertHeld,
  assertRejectsWith,
  assertSession,
  bodyOf,
  createCompleteSession,
  createTestSession,
  loadAndAppend,
  loadAndPublish,
  loadExisting,
  patternBytes,
  publicFields,
} from './helpers.ts'

/** A test of stores that are shared, with two of them. Other stores pass it. */
const sharedTest = (title: string, run: (one: Store, another: Store, fixture: Fixture) => Promise<void>) =>
  test(
    title,
    async (fixture) => {
      if (fixture.store.isShared) await run(fixture.store, await fixture.reopen(), fixture)
    },
    'sharing',
  )

/** A test of `acquireDecision`, which a shared store may have. */
const leaseTest = (
  title: string,
  run: (one: Store, another: Store, session: Session) => Promise<void>,
): ContractTest =>
  sharedTest(title, async (one, another) => {
    if (one.acquireDecision) await run(one, another, await createCompleteSession(one, 'abc'))
  })

/** Loads a session and acquires its lease. */
async function acquireLease(
  store: Store,
  session: { readonly id: string },
  timeout = 30_000,
): Promise<DecisionLease> {
  const current = await loadExisting(store, session)
  assert.ok(store.acquireDecision, 'acquireDecision() is missing')
  return store.acquireDecision(current, { timeout })
}

export const concurrencySection: Section = {
  name: 'two shared stores that use one session at the same time',
  tests: [
    sharedTest('hold the bytes of a fragment once that both append', async (...all) => {
      const [one, another, { published }] = all
      const session = await createTestSession(one, {}, false)
      const total = 2000
      const file = patternBytes(total)
      await loadAndAppend(one, session, bodyOf(file.subarray(0, 500)), { total })
      for (const first of [500, 1000, 1500]) {
        const stores = [one, another]
        const loaded = await Promise.all(stores.map((store) => loadExisting(store, session)))
        const results = await Promise.allSettled(
          stores.map((store, i) =>
            store.append(loaded[i] as Session, bodyOf(file.subarray(first, first + 500)), {
              total,
              durable: first === 1500,
            }),
          ),
        )
        const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))
        assert.equal(failures.length, 1, 'number of calls of append() that rejected')
        assert.equal(failures[0].code, 'out-of-sync')
        for (const store of stores) {
          assertSession(await loadExisting(store, session), { received: first + 500, total })
        }
      }
      await loadAndPublish(another, session)
      assertBytes(await published('a.bin'), file, 'the file')
    }),
    sharedTest(
      'reject a stale append() with out-of-sync, and the next one succeeds',
      async (one, another) => {
        const session = await createTestSession(one, {}, false)
        const stale = await loadExisting(another, session)
        const appended = await loadAndAppend(one, session, bodyOf('abc'), { total: 6 })
        const options = { total: 6, durable: false }
        await assertRejectsWith(another.append(stale, bodyOf('x'), options), 'out-of-sync')
        // The rejected call must not have invalidated the session of the other store.
        await one.append(appended, bodyOf('d'), options)
        await loadAndAppend(another, session, bodyOf('ef'), { total: 6, durable: true })
        for (const store of [one, another]) {
          assertSession(await loadExisting(store, session), { received: 6, total: 6 })
        }
        await loadAndPublish(one, session)
      },
    ),
    sharedTest('reject a stale remove() with out-of-sync, and keep the session', async (one, another) => {
      const session = await createTestSession(one, {}, false)
      const stale = await loadExisting(another, session)
      await loadAndAppend(one, session, bodyOf('abc'), { total: 6 })
      await assertRejectsWith(another.remove(stale), 'out-of-sync')
      assertSession(await loadExisting(one, session), { state: 'receiving', received: 3 })
      await another.remove(await loadExisting(another, session))
      assert.equal(await one.load(session.id), undefined)
    }),
    sharedTest('publish a session once when both call publish()', async (one, another, { published }) => {
      const session = await createCompleteSession(one, 'abc', {}, false)
      const stale = await loadExisting(another, session)
      await loadAndPublish(one, session)
      await another.publish(stale).catch((error) => assert.equal(error.code, 'out-of-sync'))
      assertSession(await loadExisting(another, session), { state: 'published', received: 3 })
      assertBytes(await published('a.bin'), 'abc', 'the file')
    }),
    leaseTest('acquire the decision one after the other', async (one, another, session) => {
      const lease = await acquireLease(one, session)
      assert.deepEqual(publicFields(lease.session), publicFields(await loadExisting(one, session)))
      await assertRejectsWith(acquireLease(another, session, 1), 'session-busy')
      const waiting = acquireLease(another, session)
      await lease.release()
      const next = await waiting
      assertSession(next.session, { state: 'receiving', received: 3, total: 3 })
      await assertHeld(another, next.session, 'abc')
      await next.release()
    }),
    leaseTest('get the session that the other one has decided', async (one, another, session) => {
      const lease = await acquireLease(one, session)
      const waiting = acquireLease(another, session)
      const decision = { publish: true, reply: 'stored' } as const
      await one.saveReply(lease.session, bodyOf('the reply'))
      await one.accept(lease.session, decision)
      await one.publish(lease.session)
      await lease.release()
      const next = await waiting
      assertSession(next.session, { state: 'published', decision })
      await next.release()
      await another.remove(await loadExisting(another, session))
    }),
    leaseTest('get the session that the other one has rejected', async (one, another, session) => {
      const lease = await acquireLease(one, session)
      const waiting = acquireLease(another, session)
      await one.reject(lease.session, 'a virus')
      await lease.release()
      const next = await waiting
      assertSession(next.session, { state: 'rejected', rejection: 'a virus' })
      await next.release()
    }),
    leaseTest('stop waiting for the decision when aborted', async (one, another, session) => {
      const lease = await acquireLease(one, session)
      const controller = new AbortController()
      const current = await loadExisting(another, session)
      const options = { timeout: 30_000, signal: controller.signal }
      const waiting = another.acquireDecision?.(current, options)
      const reason = new Error('aborted by the test')
      controller.abort(reason)
      await assert.rejects(waiting as Promise<unknown>, (error) => error === reason)
      await one.accept(lease.session, { publish: true })
      await lease.release()
      assertSession(await loadExisting(another, session), { state: 'accepted' })
    }),
    leaseTest('publish after they acquired the decision', async (one, another, session) => {
      const lease = await acquireLease(another, session)
      // A copy, as the caller may use it.
      await another.publish(Object.assign({}, lease.session))
      await lease.release()
      assertSession(await loadExisting(one, session), { state: 'published', received: 3 })
    }),
  ],
}
