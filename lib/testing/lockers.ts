import assert from 'node:assert/strict'
import type { Locker } from '../locks/locker.ts'
import type { Store } from '../stores/store.ts'
import type { Fixture } from './contract-test.ts'
import type { Capabilities } from './fixture.ts'

/** What a server locks a session under: id, owner and path. */
export const name = JSON.stringify([
  '{0D2B6F1C-0000-4000-8000-00000000000A}',
  'Jörg "J"',
  `/upload/${'ü'.repeat(500)}`,
])
export const other = JSON.stringify(['{0D2B6F1C-0000-4000-8000-00000000000B}', null, '/upload/a.bin'])

export const lockerOf = ({ locker }: Store): Locker => {
  assert.ok(locker, 'supports.locker: there has to be a locker')
  return locker
}

/** Two who do not know of each other, where there can be two; else the one twice. */
export async function twoLockers(setting: Fixture, { sharing }: Capabilities): Promise<[Locker, Locker]> {
  const one = lockerOf(setting.store)
  return [one, sharing ? lockerOf(await setting.reopen()) : one]
}

/** Has both do something that takes a way to wherever locks are: what was asked before has got there. */
export async function roundTrip(...lockers: Locker[]): Promise<void> {
  for (const locker of lockers) await (await locker.acquire(other)).release()
}

/** A promise that is kept when a holder is told that it is wanted, and how often that was. */
export function releaseListener() {
  let tell = (): void => {}
  const requested = new Promise<void>((resolve) => {
    tell = resolve
  })
  const wanted = { count: 0, told: requested, onReleaseRequested: () => {} }
  wanted.onReleaseRequested = () => {
    wanted.count += 1
    tell()
  }
  return wanted
}
