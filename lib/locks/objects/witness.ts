import type { ObjectSpace } from '../../objects/space.ts'
import type { Clock } from './clock.ts'
import { nodeKey } from './keys.ts'
import type { Timing } from './timing.ts'

/** What is known of a node. */
interface Watched {
  /** When it was looked at last, and whether it was found dead then. */
  looked: number
  isDead: Promise<boolean>
  /** Its heartbeat, and since when no other was seen in its place. */
  heartbeat?: { readonly version: string; readonly since: number }
}

/** Finds out which nodes are dead: by this process's clock alone, for no two machines agree on what time it is. */
export class Witness {
  readonly #space: ObjectSpace
  readonly #timing: Timing
  readonly #clock: Clock
  readonly #nodes = new Map<string, Watched>()

  constructor(space: ObjectSpace, timing: Timing, clock: Clock) {
    this.#space = space
    this.#timing = timing
    this.#clock = clock
  }

  /** Whether a node is no more. To be asked again and again: what was seen earlier counts. */
  isDead(node: string): Promise<boolean> {
    const looked = this.#clock.monotonic()
    const known = this.#nodes.get(node)
    // All who wait for locks of one node share their looks at it.
    if (known && looked - known.looked < this.#timing.beat / 2) return known.isDead
    const watched: Watched = known ?? { looked, isDead: Promise.resolve(false) }
    watched.looked = looked
    watched.isDead = this.#look(node, watched)
    this.#nodes.set(node, watched)
    return watched.isDead
  }

  /** Forgets all others. */
  retain(nodes: ReadonlySet<string>): void {
    for (const node of this.#nodes.keys()) if (!nodes.has(node)) this.#nodes.delete(node)
  }

  async #look(node: string, watched: Watched): Promise<boolean> {
    const begun = this.#clock.monotonic()
    try {
      const found = await this.#space.get(nodeKey(node))
      if (!found) {
        this.#nodes.delete(node)
        return true
      }
      const { version } = found
      const { heartbeat } = watched
      // It stood from when it was seen first, at the latest, until it was asked for last, at least.
      if (version === heartbeat?.version) return begun - heartbeat.since >= this.#timing.death
      watched.heartbeat = { version, since: this.#clock.monotonic() }
      return false
    } catch (error) {
      // The next one who asks looks again.
      watched.looked = Number.NEGATIVE_INFINITY
      throw error
    }
  }
}
