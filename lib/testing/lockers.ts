import assert from 'node:assert/strict'
import type { Locker } from '../locks/locker.ts'
import type { Store } from '../stores/store.ts'
import type { Fixture } from './contract-test.ts'
import type { Capabilities } from './fixture.ts'

/** Two lock keys as the middleware makes them: session id, owner and path. */
export const key = JSON.stringify([
  '{0D2B6F1C-0000-4000-8000-00000000000A}',
  'Jörg "J"',
  `/upload/${'ü'.repeat(500)}`,
])
export const otherKey = JSON.stringify(['{0D2B6F1C-0000-4000-8000-00000000000B}', null, '/upload/a.bin'])

export const lockerOf = ({ locker }: Store): Locker => {
  assert.ok(locker, 'capabilities.locker is true, so the store must have a locker')
  return locker
}

/** Two independent lockers if the store supports sharing, otherwise one locker twice. */
export async function twoLockers(fixture: Fixture, { sharing }: Capabilities): Promise<[Locker, Locker]> {
  const one = lockerOf(fixture.store)
  return [one, sharing ? lockerOf(await fixture.reopen()) : one]
}

/** Makes each locker send requests to its lock service, so that earlier requests have arrived there. */
export async function roundTrip(...lockers: Locker[]): Promise<void> {
  for (const locker of lockers) await (await locker.acquire(otherKey)).release()
}

/** An `onReleaseRequested`, the number of its calls, and a promise for the first one. */
export function releaseListener() {
  let resolve = (): void => {}
  const called = new Promise<void>((settle) => {
    resolve = settle
  })
  const listener = { count: 0, called, onReleaseRequested: () => {} }
  listener.onReleaseRequested = () => {
    listener.count += 1
    resolve()
  }
  return listener
}
