import { open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Lock } from '../locks/locker.ts'
import { isCount, isPlainObject } from '../validate.ts'
import { causeText, UploadError } from './errors.ts'
import { lockJobFile } from './job-lock.ts'
import type { ClientSession } from './session.ts'
import { type Identity, isSameIdentity } from './source.ts'

/** The content of a job file. It has no credentials, but its session id permits appending, so it is private. */
interface JobRecord {
  readonly version: 1
  /** `href` of the URL. */
  readonly url: string
  readonly source: Identity
  /** ISO 8601, for information. */
  readonly created: string
  readonly session: ClientSession
}

/** The upload of a job file. */
export interface JobSummary {
  /** The complete URL of the uploaded file. */
  readonly url: string
  /** Path of the file; empty for other sources. */
  readonly source: string
  /** Bytes of the file. */
  readonly size: number
  /** Bytes that the server held, as of the last save. */
  readonly held: number
  /** When the job file was created: ISO 8601. */
  readonly created: string
}

/**
 * Reads a job file, even while an upload uses it. Resolves to undefined if it does not exist.
 *
 * @param path path of the job file
 * @throws {UploadError} `job-invalid`, `job-failed`
 */
export async function readJob(path: string): Promise<JobSummary | undefined> {
  const record = await readJobFile(resolve(path))
  if (!record) return undefined
  const { url, source, created, session } = record
  return { url, source: String(source.path ?? ''), size: Number(source.size), held: session.offset, created }
}

/** Milliseconds to wait for the lock, which a process that is ending may still hold. */
const LockTimeoutMs = 1000

/**
 * A job file: the state of an upload, from which another process can resume it. One process at a time uses
 * it. The lock is a socket, which the kernel closes with the process (see locks/process.ts).
 */
export class Job {
  readonly path: string
  readonly #lock: Lock
  #record: JobRecord | undefined

  private constructor(path: string, lock: Lock, record: JobRecord | undefined) {
    this.path = path
    this.#lock = lock
    this.#record = record
  }

  /** @throws {UploadError} `job-in-use`, `job-invalid`, `job-failed` */
  static async open(file: string): Promise<Job> {
    const path = resolve(file)
    const lock = await lockJob(path)
    try {
      return new Job(path, lock, await readJobFile(path))
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** URL of the upload; undefined if there is no job file yet. */
  get url(): string | undefined {
    return this.#record?.url
  }

  /** A copy of the session to resume. */
  get session(): ClientSession | undefined {
    return this.#record && { ...this.#record.session }
  }

  /** @throws {UploadError} `job-mismatch` if the job file belongs to another upload */
  assertMatches(url: string, source: Identity): void {
    if (!this.#record) return
    if (this.#record.url !== url) throw mismatchError(`Its URL is ${this.#record.url}.`)
    if (!isSameIdentity(source, this.#record.source)) {
      throw mismatchError(
        `Its source was ${JSON.stringify(this.#record.source)}, and is ${JSON.stringify(source)}.`,
      )
    }
  }

  /** Writes the file atomically and synced: it survives a loss of power. */
  async save(url: string, source: Identity, session: ClientSession): Promise<void> {
    const created = this.#record?.created ?? new Date().toISOString()
    this.#record = { version: 1, url, source, created, session: { ...session } }
    try {
      await writeAtomic(this.path, `${JSON.stringify(this.#record, undefined, 2)}\n`)
    } catch (cause) {
      throw jobFileError(cause)
    }
  }

  async remove(): Promise<void> {
    this.#record = undefined
    await unlink(this.path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw jobFileError(cause)
    })
  }

  /** Releases the lock, so that another process can use the job file. */
  release(): Promise<void> {
    return this.#lock.release()
  }
}

const jobFileError = (cause: unknown): UploadError =>
  new UploadError('job-failed', causeText(cause), { cause })

const mismatchError = (detail: string): UploadError => new UploadError('job-mismatch', detail)

async function lockJob(path: string): Promise<Lock> {
  const signal = AbortSignal.timeout(LockTimeoutMs)
  try {
    return await lockJobFile(path, signal)
  } catch (cause) {
    if (signal.aborted) throw new UploadError('job-in-use', `It is ${path}.`)
    throw jobFileError(cause)
  }
}

async function readJobFile(path: string): Promise<JobRecord | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw jobFileError(cause)
  }
  const record = parseJob(text)
  if (!isJobRecord(record)) throw new UploadError('job-invalid', `It is ${path}.`)
  return record
}

function parseJob(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const stages: readonly unknown[] = ['fragment', 'reply', 'close-session'] satisfies ClientSession['stage'][]
const isAbsentOr = (value: unknown, isValid: (value: unknown) => boolean): boolean =>
  value === undefined || isValid(value)
const isText = (value: unknown): value is string => typeof value === 'string' && value !== ''

function isJobRecord(record: unknown): record is JobRecord {
  if (!isPlainObject(record) || record.version !== 1) return false
  const { url, source, created, session } = record
  return isText(url) && URL.canParse(url) && isSource(source) && isText(created) && isSession(session)
}

const isSource = (source: unknown): boolean => isPlainObject(source) && isCount(source.size)

function isSession(session: unknown): boolean {
  if (!isPlainObject(session)) return false
  const { id, hostId, failingSince, offset, stage, replyUrl, closeSent } = session
  const isHost = (value: unknown): boolean =>
    isPlainObject(value) && isText(value.host) && isAbsentOr(value.fallbackTimeout, isCount)
  return (
    isText(id) &&
    isAbsentOr(hostId, isHost) &&
    isAbsentOr(failingSince, isCount) &&
    isCount(offset) &&
    stages.includes(stage) &&
    isAbsentOr(replyUrl, isText) &&
    isAbsentOr(closeSent, (value) => typeof value === 'boolean')
  )
}

/** Only the process that holds the lock writes, so no other process uses the temporary name. */
async function writeAtomic(path: string, text: string): Promise<void> {
  const temporaryPath = `${path}.new`
  const handle = await open(temporaryPath, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporaryPath, path)
  // Windows cannot sync a directory. It does not need to: NTFS journals directory entries.
  if (process.platform === 'win32') return
  const directory = await open(dirname(path))
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
