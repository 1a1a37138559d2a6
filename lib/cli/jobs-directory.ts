import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import envPaths from 'env-paths'
import { createDirectories } from '../stores/file/file-system.ts'
import { directoryError } from './directory-error.ts'

/**
 * Directory of the job files of this user: BITS_UPLOAD_JOBS, or the application data directory of the system.
 */
const directory = (): string =>
  process.env.BITS_UPLOAD_JOBS || join(envPaths('express-bits-upload', { suffix: '' }).data, 'jobs')

function throwUnusable(cause: unknown): never {
  throw directoryError(`cannot use the directory of the job files, ${directory()}`, cause)
}

/** Creates the directory of the job files, if it does not exist. */
export async function createJobsDirectory(): Promise<void> {
  await createDirectories(directory(), { mode: 0o700 }).catch(throwUnusable)
}

/** The job file of an upload. The same file and the same URL give the same job file. */
export function jobPath(path: string, url: URL): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([path, url.href]))
    .digest('hex')
  return join(directory(), `${hash.slice(0, 12)}.json`)
}

/** A job file and its ID. */
export interface JobFile {
  readonly id: string
  readonly path: string
}

/** All job files, sorted by ID. */
export async function jobFiles(): Promise<JobFile[]> {
  const names = await readdir(directory()).catch((error: NodeJS.ErrnoException) => {
    return error.code === 'ENOENT' ? [] : throwUnusable(error)
  })
  return names
    .filter((name) => /^[0-9a-f]{12}\.json$/.test(name))
    .sort()
    .map((name) => ({ id: name.slice(0, 12), path: join(directory(), name) }))
}
