import type { Session, Store } from '../stores/store.ts'
import type { Capabilities, StoreFixture } from './fixture.ts'

/** The argument of a test: the result of `open()`. A method that is missing there rejects with a TypeError. */
export interface Fixture {
  readonly store: Store
  published(name: string, first?: number): Promise<Uint8Array | undefined>
  reopen(): Promise<Store>
  makeFolder(name: string): Promise<void>
  loseBytes(session: Session): Promise<void>
  growTo(session: Session, size: number): Promise<void>
}

export function fixtureOf(opened: StoreFixture): Fixture {
  return {
    store: opened.store,
    published: (name, first) => opened.published(name, first),
    reopen: async () => (opened.reopen ? opened.reopen() : missingMethod('reopen')),
    makeFolder: async (name) => (opened.makeFolder ? opened.makeFolder(name) : missingMethod('makeFolder')),
    loseBytes: async (session) => (opened.loseBytes ? opened.loseBytes(session) : missingMethod('loseBytes')),
    growTo: async (session, size) => (opened.growTo ? opened.growTo(session, size) : missingMethod('growTo')),
  }
}

function missingMethod(method: keyof StoreFixture): never {
  throw new TypeError(
    `storeSuite: open() returned no ${method}(). Add it, or set the capabilities that need it to false.`,
  )
}

/** One test of the contract. */
export interface ContractTest {
  readonly title: string
  /** The test is skipped unless the store has all these capabilities. */
  readonly needs: readonly (keyof Capabilities)[]
  run(fixture: Fixture, capabilities: Capabilities): Promise<void>
}

/** The tests of one part of the contract. */
export interface Section {
  readonly name: string
  readonly tests: readonly ContractTest[]
}

/** Defines a test. */
export const test = (
  title: string,
  run: ContractTest['run'],
  ...needs: (keyof Capabilities)[]
): ContractTest => ({
  title,
  needs,
  run,
})
