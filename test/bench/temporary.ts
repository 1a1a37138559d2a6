import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'

const made = new Set<string>()

/** Makes a directory that is gone when the process ends, also early: there may be gigabytes of memory in it. */
export async function temporaryDirectory(parent: string): Promise<string> {
  if (made.size === 0) process.once('exit', () => made.forEach(remove))
  const directory = await mkdtemp(join(parent, 'bits-upload-bench-'))
  made.add(directory)
  return directory
}

const remove = (directory: string): void => rmSync(directory, { recursive: true, force: true })
