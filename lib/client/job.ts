import { accessSync, constants, existsSync } from 'node:fs'
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
  #lock: Promise<Lock> | undefined
  #record: JobRecord | undefined

  private constructor(path: string) {
    this.path = path
  }

  /**
   * Opens a job file, and acquires its lock if it exists. A job file that does not exist is locked by {@link lock}, because
   * most small files are sent without one.
   * @throws {UploadError} `job-in-use`, `job-invalid`, `job-failed`
   */
  static async open(file: string): Promise<Job> {
    const job = new Job(resolve(file))
    if (!existsInFolder(job.path)) return job
    await job.lock()
    try {
      job.#record = await readJobFile(job.path)
      return job
    } catch (error) {
      await job.release()
      throw error
    }
  }

  /**
   * Acquires the lock, if this process does not have it.
   * @throws {UploadError} `job-in-use`, `job-failed`
   */
  async lock(): Promise<void> {
    const locking = this.#lock ?? lockJob(this.path)
    this.#lock = locking
    try {
      await locking
    } catch (error) {
      this.#lock = undefined
      throw error
    }
  }

  /** Whether this process has the lock, or is acquiring it. */
  get isLocked(): boolean {
    return this.#lock !== undefined
  }

  /** Whether the job file exists: it was read or written. */
  get exists(): boolean {
    return this.#record !== undefined
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

  /**
   * Writes the file atomically. After a loss of power it has this state or, unless Close-Session may have been sent, an earlier
   * one: the server corrects an old offset, but a session that it has ended looks like one that it has lost.
   * @throws {UploadError} `job-in-use`, `job-failed`
   */
  async save(url: string, source: Identity, session: ClientSession): Promise<void> {
    await this.lock()
    const created = this.#record?.created ?? new Date().toISOString()
    const record: JobRecord = { version: 1, url, source, created, session: { ...session } }
    const mustReplace = this.#record === undefined || session.closeSent === true
    try {
      await writeAtomic(this.path, `${JSON.stringify(record, undefined, 2)}\n`, mustReplace)
    } catch (cause) {
      throw jobFileError(cause)
    }
    this.#record = record
  }

  async remove(): Promise<void> {
    this.#record = undefined
    await unlink(this.path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') throw jobFileError(cause)
    })
  }

  /** Releases the lock, so that another process can use the job file. */
  async release(): Promise<void> {
    const locking = this.#lock
    this.#lock = undefined
    await (await locking?.catch(() => undefined))?.release()
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

/**
 * Whether a file exists. Synchronous, because another thread would take ten times as long, for each small file.
 * @throws {UploadError} `job-failed` if no file can be created in its folder
 */
function existsInFolder(path: string): boolean {
  if (existsSync(path)) return true
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK)
    return false
  } catch (cause) {
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

/**
 * Only the process that holds the lock writes, so no other process uses the temporary name.
 * @param mustReplace whether a loss of power must not bring back an earlier version, or no file
 */
async function writeAtomic(path: string, text: string, mustReplace: boolean): Promise<void> {
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
  if (!mustReplace || process.platform === 'win32') return
  const directory = await open(dirname(path))
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
