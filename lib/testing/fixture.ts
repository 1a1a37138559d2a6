import type { Session, Store } from '../stores/store.ts'

/** The function of a test, as a runner calls it. The test fails if the promise rejects. */
export type TestFunction = () => Promise<void>

/**
 * The functions of a test runner that the suite calls: `describe` and `it` of node:test, mocha, vitest, jest
 * and others.
 */
export interface Runner {
  /** Defines a group of tests. */
  describe(name: string, define: () => void): unknown
  /** Defines a test. */
  readonly it: {
    /** Defines a test that runs. */
    (name: string, test: TestFunction): unknown
    /** Receives the tests of missing capabilities. Without it these tests are omitted. */
    readonly skip?: (name: string, test: TestFunction) => unknown
  }
}

/**
 * Properties that some stores, or their tests, do not have. A capability that is `false` skips its tests. An
 * omitted capability counts as `true`, and its tests run.
 */
export interface Capabilities {
  /**
   * Sessions and files survive the end of the process. False for a store in memory.
   * Needs {@link StoreFixture.reopen}.
   */
  readonly restart: boolean
  /**
   * Several processes may use the same storage at the same time. False if only one process may.
   * Needs {@link StoreFixture.reopen}.
   */
  readonly sharing: boolean
  /** The store has a {@link Store.locker}. If false, it must have none: locks within one process are enough. */
  readonly locker: boolean
  /** The store has {@link Store.paths}. If false, it must not have this method: sessions are not files. */
  readonly paths: boolean
  /**
   * The store has folders, and a file cannot have the name of a folder. False if `/` in a name has no
   * meaning, as in buckets. Needs {@link StoreFixture.makeFolder}.
   */
  readonly folders: boolean
  /** `create()` rejects names in missing folders. False if the store creates folders, or has none. */
  readonly missingFolders: boolean
  /**
   * Other programs can delete the bytes of a session. False if only the store has access to them.
   * Needs {@link StoreFixture.loseBytes}.
   */
  readonly losses: boolean
  /**
   * A test can make a session hold more than 4 GiB without writing them. False if every byte would have to be
   * appended. Needs {@link StoreFixture.growTo}.
   */
  readonly bigOffsets: boolean
}

/** An empty store, and the functions with which a test reads and changes its storage directly. */
export interface StoreFixture {
  /** The store to test. It holds no sessions and no files. */
  readonly store: Store
  /**
   * Reads the published file of a name: its bytes from offset `first` (default 0), undefined if there is no
   * file. It must read the storage directly, not through the store.
   */
  published(name: string, first?: number): Promise<Uint8Array | undefined>
  /**
   * Opens a store on the same storage, as another process does. With the capability `sharing` all these
   * stores are used at the same time. Otherwise only the newest one is used from then on.
   */
  reopen?(): Store | Promise<Store>
  /** Creates a folder, and its missing parents, below the root of the store. The root exists. */
  makeFolder?(name: string): Promise<void>
  /** Deletes the bytes that a session holds. */
  loseBytes?(session: Session): Promise<void>
  /** Makes a session hold `size` bytes, as if zeros had been appended. */
  growTo?(session: Session, size: number): Promise<void>
  /** Called after the test, also when it failed. */
  close?(): void | Promise<void>
}
