import type { Readable } from 'node:stream'
import type { Body, FileSystem, MemoryStore, Session, Store } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { type Capabilities, type Runner, storeSuite } from '../../../lib/testing/index.ts'
import { memorySupports, testedFileStore, testedMemoryStore } from '../tested.ts'

/** A store with one bug. */
export interface Broken {
  readonly bug: string
  /** The test that is there to find it. */
  readonly caughtBy: string
  /** The bug may keep the test from ending. Everything is in memory then. */
  readonly mayHang?: boolean
  suite(runner: Runner): void
}

/** Makes of a good store one that does some things differently. */
type Change<Kind extends Store = Store> = (good: Kind) => Partial<Store>

const verbs = [
  ...(['create', 'load', 'append', 'accept', 'reject', 'publish'] as const),
  ...(['read', 'paths', 'saveReply', 'loadReply', 'remove', 'list', 'release'] as const),
]

const changed = <Kind extends Store>(good: Kind, change: Change<Kind>): Store =>
  ({
    locker: good.locker,
    ...Object.fromEntries(verbs.map((verb) => [verb, good[verb]?.bind(good)])),
    ...change(good),
  }) as Store

export const inMemory = (
  bug: string,
  caughtBy: string,
  change: Change<MemoryStore>,
  supports: Partial<Capabilities> = {},
): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () => testedMemoryStore((good) => changed(good, change)), {
      ...memorySupports,
      ...supports,
    }),
})

export const inFiles = (bug: string, caughtBy: string, change: Change): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () => testedFileStore({ durability: 'none' }, (good) => changed(good, change))),
})

export const onDisk = (bug: string, caughtBy: string, calls: Partial<FileSystem>): Broken => ({
  bug,
  caughtBy,
  suite: (runner) =>
    storeSuite(runner, () =>
      testedFileStore({ durability: 'none', fileSystem: { ...nodeFileSystem, ...calls } }),
    ),
})

export const soon = (): Promise<void> => new Promise(setImmediate)

/** Tells sessions with some facts wrong, from wherever they come. */
export const telling =
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
