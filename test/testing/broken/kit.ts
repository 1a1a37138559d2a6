import type { Readable } from 'node:stream'
import type { Body, FileSystem, MemoryStore, Session, Store } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { type Capabilities, type Runner, storeSuite } from '../../../lib/testing/index.ts'
import {
  fileStoreFixture,
  memoryCapabilities,
  memoryStoreFixture,
  sharedCapabilities,
  sharedStoreFixture,
} from '../fixtures.ts'

/** A store with one bug. */
export interface Broken {
  readonly bug: string
  /** The full name of the test that detects the bug. */
  readonly caughtBy: string
  /**
   * The bug can prevent the test from ending. Such a store works in memory only, so turns of the event loop
   * limit it.
   */
  readonly mayHang?: boolean
  suite(runner: Runner): void
}

/** Returns the methods that replace those of a correct store. */
type Change<Kind extends Store = Store> = (good: Kind) => Partial<Store>

const methods = [
  ...(['create', 'load', 'append', 'accept', 'reject', 'publish'] as const),
  ...(['read', 'paths', 'saveReply', 'loadReply', 'remove', 'list', 'release', 'acquireDecision'] as const),
]

const withChange = <Kind extends Store>(good: Kind, change: Change<Kind>): Store =>
  ({
    locker: good.locker,
    isShared: good.isShared,
    ...Object.fromEntries(methods.map((method) => [method, good[method]?.bind(good)])),
    ...change(good),
  }) as Store

export const inMemory = (
  bug: string,
  caughtBy: string,
  change: Change<MemoryStore>,
  capabilities: Partial<Capabilities> = {},
): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () => memoryStoreFixture((good) => withChange(good, change)), {
      ...memoryCapabilities,
      ...capabilities,
    }),
})

export const inSharedMemory = (bug: string, caughtBy: string, change: Change): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () => sharedStoreFixture({}, (good) => withChange(good, change)), sharedCapabilities),
})

export const inFiles = (bug: string, caughtBy: string, change: Change): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () => fileStoreFixture({ durability: 'none' }, (good) => withChange(good, change))),
})

export const onDisk = (bug: string, caughtBy: string, calls: Partial<FileSystem>): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () =>
      fileStoreFixture({ durability: 'none', fileSystem: { ...nodeFileSystem, ...calls } }),
    ),
})

export const soon = (): Promise<void> => new Promise(setImmediate)

/** Changes the sessions that load(), append() and list() return. */
export const changingSessions =
  (wrong: (session: Session) => Session): Change =>
  (good) => ({
    async load(id) {
      const session = await good.load(id)
      return session && wrong(session)
    },
    async append(session, body, options) {
      return wrong(await good.append(session, body, options))
    },
    async *list() {
      for await (const session of good.list()) yield wrong(session)
    },
  })

export async function gather(body: Body): Promise<Uint8Array[]> {
  const all: Uint8Array[] = []
  for await (const chunks of body) all.push(...chunks)
  return all
}

export async function* mapped(body: Body, change: (chunks: readonly Uint8Array[]) => readonly Uint8Array[]) {
  for await (const chunks of body) yield change(chunks)
}

export async function* once(chunks: readonly Uint8Array[]) {
  yield chunks
}

export async function* batchesOf(stream: Readable) {
  for await (const chunk of stream) yield [chunk as Uint8Array]
}
