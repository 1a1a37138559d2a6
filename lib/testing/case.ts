import type { Session, Store } from '../stores/store.ts'
import type { Supports, TestedStore } from './tested.ts'

/** What a test works with: what `open` gave, and an error in the place of each method that it did not give. */
export interface Setting {
  readonly store: Store
  published(name: string, first?: number): Promise<Uint8Array | undefined>
  reopen(): Promise<Store>
  makeFolder(name: string): Promise<void>
  loseBytes(session: Session): Promise<void>
  growTo(session: Session, size: number): Promise<void>
}

export function settingOf(tested: TestedStore): Setting {
  return {
    store: tested.store,
    published: (name, first) => tested.published(name, first),
    reopen: async () => (tested.reopen ? tested.reopen() : missing('reopen')),
    makeFolder: async (name) => (tested.makeFolder ? tested.makeFolder(name) : missing('makeFolder')),
    loseBytes: async (session) => (tested.loseBytes ? tested.loseBytes(session) : missing('loseBytes')),
    growTo: async (session, size) => (tested.growTo ? tested.growTo(session, size) : missing('growTo')),
  }
}

function missing(method: keyof TestedStore): never {
  throw new TypeError(`storeSuite: what is declared to be supported takes ${method}() from open()`)
}

/** One test of the contract. */
export interface Case {
  readonly title: string
  /** All that a store has to support for it to make sense. */
  readonly needs: readonly (keyof Supports)[]
  run(setting: Setting, supports: Supports): Promise<void>
}

/** The tests of one part of the contract. */
export interface Chapter {
  readonly name: string
  readonly cases: readonly Case[]
}

/** Writes down a case. */
export const test = (title: string, run: Case['run'], ...needs: (keyof Supports)[]): Case => ({
  title,
  needs,
  run,
})
