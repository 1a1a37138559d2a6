import { join } from 'node:path'
import { readGuid } from '../../protocol/packet.ts'
import { isDataObsolete } from '../state.ts'
import type { ListOptions, Session } from '../store.ts'
import { type FileSystem, orAbsent } from './file-system.ts'

/** Extensions: the journal, its replacement, the data file, the replacement link, the reply. */
const fileKinds = ['json', 'new', 'part', 'out', 'reply']

/** Age in milliseconds from which a file that a crash left behind is removed. */
const OrphanAgeMs = 60 * 1000

/**
 * Yields the sessions of a directory as `load` returns them, and removes files that belong to none of them.
 */
export async function* listSessions<Held extends Session>(
  fs: FileSystem,
  directory: string,
  load: (id: string) => Promise<Held | undefined>,
  { onUnreadable }: ListOptions = {},
): AsyncGenerator<Held> {
  const entries = await orAbsent(fs.opendir(directory))
  if (!entries) return
  let failure: unknown
  const onError = (error: unknown): void => {
    if (onUnreadable) onUnreadable(error)
    else failure ??= error
  }
  for await (const { name } of entries) {
    const [id, kind] = name.split('.', 2) as [string, string?]
    if (readGuid(id) !== id || !fileKinds.includes(kind ?? '')) continue
    let session: Held | undefined
    try {
      session = await load(id)
    } catch (error) {
      // A session has several files, and is reported once.
      if (kind === 'json') onError(error)
      continue
    }
    const isOrphan = !session || kind === 'new' || (isData(kind) && isDataObsolete(session))
    try {
      if (isOrphan) await removeOrphan(fs, join(directory, name))
    } catch (error) {
      onError(error)
    }
    if (!isOrphan && kind === 'json' && session) yield session
  }
  if (failure) throw failure
}

/** Removes a file that is no longer needed, if it is old: a new one may belong to a call that is running. */
async function removeOrphan(fs: FileSystem, path: string): Promise<void> {
  const status = await orAbsent(fs.stat(path))
  if (status && Date.now() - status.mtimeMs > OrphanAgeMs) await orAbsent(fs.unlink(path))
}

const isData = (kind: string | undefined): boolean => kind === 'part' || kind === 'out'
