import type { Session, Store } from '../stores/store.ts'
import type { Capabilities, StoreFixture } from './fixture.ts'

/** What a test works with: what `open` gave, and an error in the place of each method that it did not give. */
export interface Fixture {
  readonly store: Store
  published(name: string, first?: number): Promise<Uint8Array | undefined>
  reopen(): Promise<Store>
  makeFolder(name: string): Promise<void>
  loseBytes(session: Session): Promise<void>
  growTo(session: Session, size: number): Promise<void>
}

export function fixtureOf(tested: StoreFixture): Fixture {
  return {
    store: tested.store,
    published: (name, first) => tested.published(name, first),
    reopen: async () => (tested.reopen ? tested.reopen() : missingMethod('reopen')),
    makeFolder: async (name) => (tested.makeFolder ? tested.makeFolder(name) : missingMethod('makeFolder')),
    loseBytes: async (session) => (tested.loseBytes ? tested.loseBytes(session) : missingMethod('loseBytes')),
    growTo: async (session, size) => (tested.growTo ? tested.growTo(session, size) : missingMethod('growTo')),
  }
}

function missingMethod(method: keyof StoreFixture): never {
  throw new TypeError(`storeSuite: what is declared to be supported takes ${method}() from open()`)
}

/** One test of the contract. */
export interface ContractTest {
  readonly title: string
  /** All that a store has to support for it to make sense. */
  readonly needs: readonly (keyof Capabilities)[]
  run(fixture: Fixture, supports: Capabilities): Promise<void>
}

/** The tests of one part of the contract. */
export interface Section {
  readonly name: string
  readonly tests: readonly ContractTest[]
}

/** Writes down a case. */
export const test = (
  title: string,
  run: ContractTest['run'],
  ...needs: (keyof Capabilities)[]
): ContractTest => ({
  title,
  needs,
  run,
})
