import { randomUUID } from 'node:crypto'
import type { Condition, ObjectSpace, SpaceOptions } from '../../objects/space.ts'
import type { Clock } from './clock.ts'
import { lockObjectKey } from './keys.ts'
import { type LockObject, readLock, writeLock } from './lock-object.ts'
import type { Node } from './node.ts'
import type { Timing } from './timing.ts'
import { announce } from './wants.ts'
import type { Witness } from './witness.ts'

/** What stands at the service under a lock's name, whoever wrote it; undefined: nothing, the lock is free. */
type Standing = LockObject | undefined

/** Gets locks for a node against all others; within the node only one asks for a lock at a time. */
export class Contender {
  readonly #space: ObjectSpace
  readonly #timing: Timing
  readonly #clock: Clock
  readonly #node: Node
  readonly #witness: Witness

  constructor(space: ObjectSpace, timing: Timing, clock: Clock, node: Node, witness: Witness) {
    this.#space = space
    this.#timing = timing
    this.#clock = clock
    this.#node = node
    this.#witness = witness
  }

  /** Whether nobody has it any more. */
  async isVoid({ node, nonce }: LockObject): Promise<boolean> {
    return this.#node.is(node) ? !this.#node.knows(nonce) : this.#witness.isDead(node)
  }

  /** Takes a lock, if that goes at once. */
  async try(hash: string): Promise<LockObject | undefined> {
    // To find out who has it.
    const first = await this.#tryTake(hash, undefined)
    return this.#ours(first) ?? this.#ours(await this.#tryTake(hash, first))
  }

  /** Takes a lock as soon as it is free, and tells all who have it until then that it is wanted. */
  async wait(hash: string, signal: AbortSignal | undefined): Promise<LockObject> {
    const options = signal ? { signal } : {}
    const [shortest, longest] = this.#timing.poll
    let pause = shortest
    let told: string | undefined
    let lock = await this.#tryTake(hash, undefined)
    for (;;) {
      const ours = this.#ours(lock)
      if (ours) return ours
      if (lock && lock.nonce !== told && !(await this.isVoid(lock))) {
        await announce(this.#space, hash, lock, options)
        told = lock.nonce
        pause = shortest
      }
      await this.#clock.delay(pause, options)
      pause = Math.min(1.5 * pause, longest)
      lock = await this.#tryTake(hash, await readLock(this.#space, hash, options))
    }
  }

  /** Removes the node's lock. */
  async giveBack(hash: string, lock: LockObject): Promise<void> {
    const options = { signal: this.#clock.timeout(this.#timing.death / 2) }
    // In doubt it is taken once more: where another node has it by now, that fails, and it stays the other's. A service
    // without conditional removals would remove it.
    const isSure = this.#node.isSafe(lock.node)
    const last = isSure ? lock : this.#ours(await this.#take(hash, { version: lock.version }, options))
    if (!last) return
    try {
      await this.#space.removeIf(lockObjectKey(hash), last.version, options)
    } finally {
      this.#node.drop(last.nonce)
    }
  }

  /** What stands there, if it is a lock that the node has, and knows that it has. */
  #ours(lock: Standing): Standing {
    return lock && this.#node.knows(lock.nonce) ? lock : undefined
  }

  /** @param seen what stood there just now */
  async #tryTake(hash: string, seen: Standing): Promise<Standing> {
    if (!seen) return this.#take(hash, 'absent')
    return (await this.isVoid(seen)) ? this.#take(hash, { version: seen.version }) : seen
  }

  /** Takes a lock if the condition is met. Resolves to what stands there then. */
  async #take(hash: string, condition: Condition, options?: SpaceOptions): Promise<Standing> {
    const life = await this.#node.alive()
    const nonce = randomUUID()
    this.#node.ask(nonce)
    let lock: Standing
    try {
      lock = await writeLock(this.#space, hash, { node: life.id, nonce }, condition, options)
    } finally {
      if (lock?.nonce !== nonce) this.#node.drop(nonce)
    }
    if (lock?.nonce !== nonce || life.isTimely) return lock
    // It took so long that others may have taken the node for dead, and its new lock for nobody's.
    this.#node.drop(nonce)
    return this.#take(hash, { version: lock.version }, options)
  }
}
