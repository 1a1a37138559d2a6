import { mkdir, open, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type FileStoreOptions,
  fileStore,
  type MemoryStore,
  memoryStore,
  type Session,
  type Store,
} from '../../lib/index.ts'
import type { Capabilities, StoreFixture } from '../../lib/testing/index.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { sharedStorage } from '../support/shared-store.ts'

/** The capabilities that the memory store does not have. */
export const memoryCapabilities: Partial<Capabilities> = {
  restart: false,
  sharing: false,
  locker: false,
  paths: false,
  folders: false,
  missingFolders: false,
  losses: false,
  bigOffsets: false,
}

/** @param change wraps the store */
export function memoryStoreFixture(change: (store: MemoryStore) => Store = (store) => store): StoreFixture {
  const store = memoryStore()
  return {
    store: change(store),
    published: async (name, first = 0) => store.files.get(name)?.subarray(first),
  }
}

/** The capabilities that stores on a shared storage in memory do not have. */
export const sharedCapabilities: Partial<Capabilities> = { ...memoryCapabilities, sharing: true }

/** @param change wraps each store that is opened */
export function sharedStoreFixture(
  options: Parameters<typeof sharedStorage>[0] = {},
  change: (store: Store) => Store = (store) => store,
): StoreFixture {
  const storage = sharedStorage(options)
  return {
    store: change(storage.open()),
    reopen: () => change(storage.open()),
    published: async (name, first = 0) => storage.files.get(name)?.subarray(first),
  }
}

/** @param change wraps each store that is opened */
export async function fileStoreFixture(
  options: FileStoreOptions = {},
  change: (store: Store) => Store = (store) => store,
): Promise<StoreFixture> {
  const root = await temporaryDirectory()
  const reopen = (): Store => change(fileStore(root, options))
  const part = ({ id }: Session): string =>
    join(options.sessionDirectory ?? join(root, '.bits-sessions'), `${id}.part`)
  return {
    store: reopen(),
    reopen,
    published: (name, first = 0) => readFrom(join(root, name), first),
    makeFolder: async (name) => void (await mkdir(join(root, name), { recursive: true })),
    loseBytes: (session) => rm(part(session)),
    growTo: (session, size) => truncate(part(session), size),
  }
}

/** The bytes of a file from an offset on. Earlier bytes are not read, so a file of 4 GiB is no problem. */
async function readFrom(path: string, first: number): Promise<Uint8Array | undefined> {
  const file = await open(path).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
  if (!file) return undefined
  try {
    const { size } = await file.stat()
    const bytes = Buffer.alloc(Math.max(0, size - first))
    const { bytesRead } = await file.read(bytes, 0, bytes.length, first)
    return bytes.subarray(0, bytesRead)
  } finally {
    await file.close()
  }
}
