import type { Session, Store } from '../stores/store.ts'

/** A test that a runner is told of. */
type Test = () => Promise<void>

/** What the suite needs of a test runner: `describe` and `it` of node:test, mocha, vitest, jest and others. */
export interface Runner {
  describe(name: string, define: () => void): unknown
  readonly it: {
    (name: string, test: Test): unknown
    /** Told of the tests of what a store does not support; without it they are left out. */
    readonly skip?: (name: string, test: Test) => unknown
  }
}

/**
 * What not every store can do, or can be made to do in a test. Only what is declared `false` is skipped: what is left
 * out is supported, and tested.
 */
export interface Capabilities {
  /** What the store keeps outlives the process. False for one that forgets with it. Takes {@link StoreFixture.reopen}. */
  readonly restart: boolean
  /**
   * Several processes may use what the store stands on at the same time. False where only one may.
   * Takes {@link StoreFixture.reopen}.
   */
  readonly sharing: boolean
  /** There is a {@link Store.locker}. False where the locks of one process will do: then there must be none. */
  readonly locker: boolean
  /** There is {@link Store.paths}. False where sessions are not kept in files: then there must be none. */
  readonly paths: boolean
  /**
   * There are folders, and where one stands no file can. False where a name with `/` is a name like all others, as in
   * buckets. Takes {@link StoreFixture.makeFolder}.
   */
  readonly folders: boolean
  /** Names in folders that do not exist are refused. False where such folders are made, and where there are none. */
  readonly missingFolders: boolean
  /**
   * Bytes may vanish behind the store's back. False where nobody but the store can reach them.
   * Takes {@link StoreFixture.loseBytes}.
   */
  readonly losses: boolean
  /**
   * A test can have a session hold more than 4 GiB, at no cost. False where each of them would have to be sent.
   * Takes {@link StoreFixture.growTo}.
   */
  readonly bigOffsets: boolean
}

/** A store that holds nothing yet, and what a test has to reach behind it. */
export interface StoreFixture {
  readonly store: Store
  /**
   * What visitors find under a name: its bytes from offset `first` on, 0 by default; undefined if nothing stands there.
   * It must not ask the store.
   */
  published(name: string, first?: number): Promise<Uint8Array | undefined>
  /**
   * A store on the same ground, as another process would open it. With `supports.sharing` all of them are used side by
   * side, else only the newest is used any more.
   */
  reopen?(): Store | Promise<Store>
  /** Makes a folder below the root, which is there. */
  makeFolder?(name: string): Promise<void>
  /** Has the bytes vanish that a session holds. */
  loseBytes?(session: Session): Promise<void>
  /** Has a session hold `size` bytes, as if zeros had been appended. */
  growTo?(session: Session, size: number): Promise<void>
  /** Called when the test is over. */
  close?(): void | Promise<void>
}
