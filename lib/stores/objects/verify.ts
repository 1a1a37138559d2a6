import type { ObjectSpace, SpaceOptions } from '../../objects/space.ts'
import { type Held, objectsOf } from './held.ts'
import { bytesPlace } from './places.ts'

/** What one request lists. */
const Page = 1000

/** The objects of an upload's bytes, the first of them or all, with their sizes. */
export class Found {
  readonly #sizes = new Map<string, number>()
  #isAll = true

  static async look(
    space: ObjectSpace,
    id: string,
    { limit = Page, signal }: { readonly limit?: number } & SpaceOptions = {},
  ): Promise<Found> {
    const found = new Found()
    const place = bytesPlace(id)
    for await (const { key, size } of space.list(place, signal ? { signal } : {})) {
      found.#sizes.set(key.slice(place.length), size)
      if (found.#sizes.size < limit) continue
      found.#isAll = false
      break
    }
    return found
  }

  get isAll(): boolean {
    return this.#isAll
  }

  /** Whether all that is said to be held is there, as far as was looked. Lists come in the order of the names. */
  has(held: Held): boolean {
    const last = this.#isAll ? undefined : [...this.#sizes.keys()].at(-1)
    return objectsOf(held).every(({ key, size }) =>
      last !== undefined && key > last ? true : this.#sizes.get(key) === size,
    )
  }
}
