import { join } from 'node:path'
import { readGuid } from '../../protocol/guid.ts'
import { isDataObsolete } from '../state.ts'
import type { Session } from '../store.ts'
import { type FileSystem, orAbsent } from './file-system.ts'

/** Record, its next form, part, a second name of the part, and reply. */
const fileKinds = ['json', 'new', 'part', 'out', 'reply']

/** What a crash left in the sessions' directory is cleared away when it is this old, in milliseconds. */
const OrphanAgeMs = 60 * 1000

/** The sessions of a directory, each as `load` tells it; what belongs to none of them is removed on the way. */
export async function* listSessions(
  fs: FileSystem,
  directory: string,
  load: (id: string) => Promise<Session | undefined>,
): AsyncGenerator<Session> {
  const entries = await orAbsent(fs.opendir(directory))
  if (!entries) return
  let failure: unknown
  for await (const { name } of entries) {
    const [id, kind] = name.split('.', 2) as [string, string?]
    if (readGuid(id) !== id || !fileKinds.includes(kind ?? '')) continue
    try {
      const session = await load(id)
      if (!session || kind === 'new' || (isPart(kind) && isDataObsolete(session)))
        await removeOrphan(fs, join(directory, name))
      else if (kind === 'json') yield session
    } catch (error) {
      // One record that cannot be read must not hide the others.
      failure ??= error
    }
  }
  if (failure) throw failure
}

/** Removes what has no record, a part of a published or rejected file, or a torn record: nobody needs it any more. */
async function removeOrphan(fs: FileSystem, path: string): Promise<void> {
  const found = await orAbsent(fs.stat(path))
  if (found && Date.now() - found.mtimeMs > OrphanAgeMs) await orAbsent(fs.unlink(path))
}

const isPart = (kind: string | undefined): boolean => kind === 'part' || kind === 'out'
