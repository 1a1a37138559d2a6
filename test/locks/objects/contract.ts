import { objectLocker } from '../../../lib/locks/objects.ts'
import type { Store } from '../../../lib/stores/store.ts'
import type { Setting } from '../../../lib/testing/case.ts'
import type { Supports } from '../../../lib/testing/tested.ts'
import { type Place, spaceAt } from './places.ts'

/** What the cases of the contract that are about lockers are run on: stores of which there is only the locker. */
export function contractOf(place: Place): [Setting, Supports] {
  const open = () => ({ locker: objectLocker(spaceAt(place)) }) as unknown as Store
  const setting: Partial<Setting> = { store: open(), reopen: async () => open() }
  const supports: Partial<Supports> = { locker: true, sharing: true, paths: false }
  return [setting as Setting, supports as Supports]
}
