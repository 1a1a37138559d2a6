import { open, readFile, rename, unlink } from 'node:fs/promises'
import { basename, dirname, resolve } from 'node:path'
import type { Lock } from '../locks/locker.ts'
import { processLocker } from '../locks/processes.ts'
import { isPlainObject } from '../validate.ts'
import { UploadError } from './errors.ts'
import type { ClientSession } from './session.ts'
import { type Identity, isSameIdentity } from './source.ts'

/** What stands in a job file. No credentials; but who knows the session's id may add to the session, so it is private. */
interface JobRecord {
  readonly version: 1
  /** As URL writes it. */
  readonly url: string
  readonly source: Identity
  /** ISO 8601, for whoever looks at it. */
  readonly created: string
  readonly session: ClientSession
}

/** What a job file tells of an upload that is not finished. */
export interface JobSummary {
  readonly url: string
  /** The path of the file; empty for bytes of a program's own. */
  readonly source: string
  /** Bytes of the file. */
  readonly size: number
  /** Bytes that the server held when it last said. */
  readonly held: number
  /** ISO 8601. */
  readonly created: string
}

/**
 * Reads a job file, also one in use; undefined if there is none.
 * @throws {UploadError} `job-invalid`, `job-failed`
 */
export async function readJob(path: string): Promise<JobSummary | undefined> {
  const record = await readJobFile(resolve(path))
  if (!record) return undefined
  const { url, source, created, session } = record
  return { url, source: String(source.path ?? ''), size: Number(source.size), held: session.offset, created }
}

/** Milliseconds for a process that is just ending to let go of its job. */
const LockTimeoutMs = 1000

/**
 * The memory of an upload outside of its process. One process at a time uses it: the lock is a socket of the kernel's,
 * so that it never outlives its process (see processes.ts).
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

  /** The upload's URL; undefined if there is no job file yet. */
  get url(): string | undefined {
    return this.#record?.url
  }

  /** The session to go on with; a copy. */
  get session(): ClientSession | undefined {
    return this.#record && { ...this.#record.session }
  }

  /** @throws {UploadError} `job-mismatch` if there is a job file of another upload */
  assertMatches(url: string, source: Identity): void {
    if (!this.#record) return
    if (this.#record.url !== url) throw mismatch(`Its URL is ${this.#record.url}.`)
    if (!isSameIdentity(source, this.#record.source)) {
      throw mismatch(
        `Its source was ${JSON.stringify(this.#record.source)}, and is ${JSON.stringify(source)}.`,
      )
    }
  }

  /** Writes the file, whole or not at all, and so that it survives a loss of power. */
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

  /** Others may use it. */
  release(): Promise<void> {
    return this.#lock.release()
  }
}

const jobFileError = (cause: unknown): UploadError =>
  new UploadError('job-failed', cause instanceof Error ? `${cause.message}.` : undefined, { cause })

const mismatch = (fact: string): UploadError => new UploadError('job-mismatch', fact)

async function lockJob(path: string): Promise<Lock> {
  const signal = AbortSignal.timeout(LockTimeoutMs)
  try {
    return await processLocker(dirname(path)).acquire(basename(path), { signal })
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
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
const isAbsentOr = (value: unknown, is: (value: unknown) => boolean): boolean =>
  value === undefined || is(value)
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

/** Only the one process that holds the lock writes, so the name beside it is its own. */
async function writeAtomic(path: string, text: string): Promise<void> {
  const beside = `${path}.new`
  const handle = await open(beside, 'w', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(beside, path)
  // Windows cannot sync directories, and needs not: NTFS journals their entries.
  if (process.platform === 'win32') return
  const directory = await open(dirname(path))
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
