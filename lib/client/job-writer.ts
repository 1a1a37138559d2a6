import type { Clock } from './clock.ts'
import type { Job } from './job.ts'
import type { ClientSession } from './session.ts'
import type { Identity } from './source.ts'

/** Where an upload is kept in mind while it runs. */
export interface JobBinding {
  readonly job: Job
  readonly identity: Identity
}

/** Milliseconds between two savings of the offset; the server knows it better anyway. */
const SaveInterval = 1000

/** Keeps the job file, if there is to be one, what the session is. */
export class JobWriter {
  readonly #memory: JobBinding | undefined
  readonly #destination: URL
  readonly #clock: Clock
  #savedAt = Number.NEGATIVE_INFINITY

  constructor(memory: JobBinding | undefined, destination: URL, clock: Clock) {
    this.#memory = memory
    this.#destination = destination
    this.#clock = clock
  }

  /** @throws {UploadError} `job-failed` */
  async save(session: ClientSession | undefined): Promise<void> {
    if (!this.#memory || !session) return
    const { job, identity } = this.#memory
    await job.save(this.#destination.href, identity, session)
    this.#savedAt = this.#clock.now()
  }

  /** Saves what the server can correct: an upload that gets on is not to fail for it. */
  async trySave(session: ClientSession | undefined): Promise<void> {
    await this.save(session).catch(() => {})
  }

  /** As `note`, but not too often. */
  async saveThrottled(session: ClientSession): Promise<void> {
    if (this.#clock.now() - this.#savedAt >= SaveInterval) await this.trySave(session)
  }

  async remove(): Promise<void> {
    await this.#memory?.job.remove()
  }
}
