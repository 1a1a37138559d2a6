import type { Directories } from './destination.ts'
import { type FileStatus, type FileSystem, sameBoot } from './file-system.ts'
import { isPublishedFile, wasMadeVisible } from './publish.ts'
import type { SessionFiles } from './session-files.ts'

/**
 * Decides after a crash, or a loss of power, which bytes of a data file are certain to exist, and whether the file was
 * made visible. Resolves to the number of bytes; to undefined if the data file is missing.
 * @param status of the data file; undefined if it is missing
 */
export async function recover(
  fs: FileSystem,
  directories: Directories,
  boot: string,
  { journal, dataFile }: SessionFiles,
  status: FileStatus | undefined,
): Promise<number | undefined> {
  const { session, state } = journal
  const { total, publishing } = state
  if (sameBoot(state.boot, boot)) {
    const isVisible =
      publishing === 'done' ||
      (publishing && (await wasMadeVisible(fs, directories, session, dataFile.paths, publishing)))
    if (!isVisible) return status?.size
    dataFile.isVisible = true
    return total
  }
  if (!status) return undefined
  // Bytes after `synced` were written under an earlier boot, or their sync failed: they may be holes.
  const synced = Math.min(status.size, state.synced ?? 0)
  const isIncomplete = total !== undefined && status.size < total
  if (status.nlink === 1) return synced
  // A file is synced before it is published, so its link proves all bytes, even if the entry with `total` is lost.
  dataFile.isVisible = await isPublishedFile(fs, directories, session, dataFile.paths.data)
  if (dataFile.isVisible) return status.size
  if (isIncomplete || synced === status.size) return synced
  // The other link is that of a backup; or that of a consumer that has moved the published file, which must not change.
  dataFile.mustReplace = true
  return 0
}
