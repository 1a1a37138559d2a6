import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Creates an empty directory, which is removed after the test. */
export async function temporaryDirectory(parent = tmpdir()): Promise<string> {
  const path = await mkdtemp(join(parent, 'bits-upload-'))
  onTestFinished(() => rm(path, { recursive: true, force: true, maxRetries: 5 }))
  return path
}

/** Names of the files of sessions in a session directory, without the folder of the locks. */
export const sessionFileNames = async (sessionDirectory: string): Promise<string[]> =>
  (await readdir(sessionDirectory)).filter((name) => name !== 'locks')
