import type { Locker } from '../../../../lib/locks/locker.ts'
import type { Store } from '../../../../lib/stores/store.ts'
import type { Setting } from '../../../../lib/testing/case.ts'
import type { Supports } from '../../../../lib/testing/tested.ts'

/**
 * Fixture for the locker tests of the store contract: stores that have only a locker.
 * @param newLocker creates lockers that share an object service
 */
export function contractOf(newLocker: () => Locker): [Setting, Supports] {
  const open = () => ({ locker: newLocker() }) as unknown as Store
  const setting: Partial<Setting> = { store: open(), reopen: async () => open() }
  const supports: Partial<Supports> = { locker: true, sharing: true, paths: false }
  return [setting as Setting, supports as Supports]
}
