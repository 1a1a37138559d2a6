import type { Locker } from '../../../../lib/locks/locker.ts'
import type { Store } from '../../../../lib/stores/store.ts'
import type { Fixture } from '../../../../lib/testing/contract-test.ts'
import type { Capabilities } from '../../../../lib/testing/fixture.ts'

/**
 * Fixture for the locker tests of the store contract: stores that have only a locker.
 * @param newLocker creates lockers that share an object service
 */
export function contractOf(newLocker: () => Locker): [Fixture, Capabilities] {
  const open = () => ({ locker: newLocker() }) as unknown as Store
  const setting: Partial<Fixture> = { store: open(), reopen: async () => open() }
  const supports: Partial<Capabilities> = { locker: true, sharing: true, paths: false }
  return [setting as Fixture, supports as Capabilities]
}
