import type { Leaving } from './locker.ts'

/** How many are kept: each may hold descriptors. */
const Most = 256
/** Milliseconds between two clearances: what is still there at the second one was kept long enough. */
const ClearEvery = 1000

/** What holders left with sessions that nobody holds now, by the sessions' names. */
export class Leavings {
  #young = new Map<string, Leaving>()
  #old = new Map<string, Leaving>()
  #timer: NodeJS.Timeout | undefined

  take(id: string): Leaving | undefined {
    const generation = this.#young.has(id) ? this.#young : this.#old
    const leaving = generation.get(id)
    generation.delete(id)
    return leaving
  }

  put(id: string, leaving: Leaving): void {
    if (this.#young.size + this.#old.size >= Most) this.#dropEldest()
    this.#young.set(id, leaving)
    // One timer for all: one for each would cost more than all else here.
    this.#timer ??= setTimeout(() => this.#clear(), ClearEvery).unref()
  }

  drop(id: string): void {
    this.take(id)?.drop()
  }

  dropAll(): void {
    for (const id of [...this.#old.keys(), ...this.#young.keys()]) this.drop(id)
  }

  #dropEldest(): void {
    const [id] = (this.#old.size > 0 ? this.#old : this.#young).keys()
    if (id !== undefined) this.drop(id)
  }

  #clear(): void {
    const over = this.#old
    this.#old = this.#young
    this.#young = new Map()
    this.#timer = this.#old.size > 0 ? setTimeout(() => this.#clear(), ClearEvery).unref() : undefined
    for (const leaving of over.values()) leaving.drop()
  }
}
