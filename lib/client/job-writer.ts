import type { Clock } from './clock.ts'
import type { Connections } from './connections.ts'
import type { Job } from './job.ts'
import type { ClientSession } from './session.ts'
import type { Identity } from './source.ts'

/** The job file of an upload, and the identity of its source. */
export interface JobBinding {
  readonly job: Job
  readonly identity: Identity
}

/** What an upload uses, and does not close. */
export interface UploadResources {
  readonly binding?: JobBinding | undefined
  /** Default: its own. */
  readonly connections?: Connections | undefined
}

/**
 * Milliseconds of an upload until its job file is locked and created, so that most small files need none; and between two
 * saves of the offset. An old offset does no harm: the server corrects it.
 */
const SaveIntervalMs = 1000

/**
 * Saves the session to the job file. Without a job file it does nothing. It locks and creates the job file when the upload is
 * one second old, even if it waits for an answer then, or when it is interrupted before that. Saves run one after another.
 */
export class JobWriter {
  readonly #binding: JobBinding | undefined
  readonly #destination: URL
  readonly #clock: Clock
  #savedAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  /** The last save; it never rejects. */
  #saving: Promise<void> = Promise.resolve()
  /** Why the job file could not be locked or created. */
  #failure: { readonly error: unknown } | undefined

  #session: ClientSession | undefined

  constructor(binding: JobBinding | undefined, destination: URL, clock: Clock) {
    this.#binding = binding
    this.#destination = destination
    this.#clock = clock
  }

  /**
   * Begins the upload.
   * @param onFailure called if another process has locked the job file in the meantime, or it cannot be created
   */
  start(onFailure: (error: unknown) => void): void {
    if (!this.#binding || this.#binding.job.exists) return
    this.#savedAt = this.#clock.now()
    this.#timer = setTimeout(() => void this.keep(this.#session).catch(onFailure), SaveIntervalMs)
  }

  /**
   * Begins a session. The job file of an upload that was interrupted is saved now: it is missing, or names a lost session.
   * @throws as {@link save}
   */
  async begin(session: ClientSession): Promise<void> {
    this.#session = session
    if (this.#binding?.job.isLocked) await this.save(session)
  }

  /**
   * Called when the upload takes longer, or before it is tried again: locks the job file, and saves the session if there is one.
   * @throws as {@link save}
   */
  async keep(session: ClientSession | undefined): Promise<void> {
    clearTimeout(this.#timer)
    await this.#mustSucceed(async () => this.#binding?.job.lock())
    await this.save(session)
  }

  /**
   * Saves the session, and creates the job file if there is none. A failure to save is ignored if there is one, because the
   * server can correct all that the file contains.
   * @throws {UploadError} `job-in-use`, `job-failed` if the job file cannot be created: the upload could not be resumed
   */
  async save(session: ClientSession | undefined): Promise<void> {
    if (!this.#binding || !session) return
    const { job, identity } = this.#binding
    await this.#mustSucceed(() => {
      const saved = this.#saving.then(() => job.save(this.#destination.href, identity, session))
      this.#saving = saved.catch(() => {})
      return saved
    })
    this.#savedAt = this.#clock.now()
  }

  /**
   * Called after each fragment but the last: saves at most once a second. An upload of several fragments has the job file for
   * itself before the second one is sent.
   * @throws as {@link save}
   */
  async onFragment(session: ClientSession): Promise<void> {
    await this.#mustSucceed(async () => this.#binding?.job.lock())
    if (this.#clock.now() - this.#savedAt >= SaveIntervalMs) await this.save(session)
  }

  /** Saves the session if the job file exists, or is being created. */
  async update(session: ClientSession): Promise<void> {
    await this.#saving
    if (this.#binding?.job.exists) await this.save(session)
  }

  /** Removes the job file, at the end of the upload. */
  async remove(): Promise<void> {
    await this.stop()
    if (this.#binding?.job.exists) await this.#binding.job.remove()
  }

  /** Stops the timer, and waits for the last save. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#saving
  }

  /** Ignores failures once the job file exists. After one before that, all calls fail. */
  async #mustSucceed(work: () => Promise<void> | undefined): Promise<void> {
    if (this.#failure) throw this.#failure.error
    try {
      await work()
    } catch (error) {
      if (this.#binding?.job.exists) return
      this.#failure = { error }
      throw error
    }
  }
}
