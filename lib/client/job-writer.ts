import type { Clock } from './clock.ts'
import type { Job } from './job.ts'
import type { ClientSession } from './session.ts'
import type { Identity } from './source.ts'

/** The job file of an upload, and the identity of its source. */
export interface JobBinding {
  readonly job: Job
  readonly identity: Identity
}

/**
 * Minimum milliseconds between two saves of the offset. An old offset does no harm: the server corrects it.
 */
const SaveIntervalMs = 1000

/** Saves the session to the job file. Without a job file it does nothing. */
export class JobWriter {
  readonly #binding: JobBinding | undefined
  readonly #destination: URL
  readonly #clock: Clock
  #savedAt = Number.NEGATIVE_INFINITY

  constructor(binding: JobBinding | undefined, destination: URL, clock: Clock) {
    this.#binding = binding
    this.#destination = destination
    this.#clock = clock
  }

  /** @throws {UploadError} `job-failed` */
  async save(session: ClientSession | undefined): Promise<void> {
    if (!this.#binding || !session) return
    const { job, identity } = this.#binding
    await job.save(this.#destination.href, identity, session)
    this.#savedAt = this.#clock.now()
  }

  /** Saves state that the server can correct: a failure to save it must not end an upload that advances. */
  async trySave(session: ClientSession | undefined): Promise<void> {
    await this.save(session).catch(() => {})
  }

  /** As {@link trySave}, but at most once a second. */
  async saveThrottled(session: ClientSession): Promise<void> {
    if (this.#clock.now() - this.#savedAt >= SaveIntervalMs) await this.trySave(session)
  }

  async remove(): Promise<void> {
    await this.#binding?.job.remove()
  }
}
