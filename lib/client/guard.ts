import { UploadError } from './errors.ts'
import type { Setback } from './setback.ts'

/** So often in a row the same offset, or an answer that is wrong, and it is no use. */
const MaxStrikes = 5
/** So many steps back without a new byte: a server that jumps back and forth would keep us busy for ever. */
const MaxSteps = 20
/** So many sessions forgotten without a new byte. */
const MaxRestarts = 5

/**
 * Sees to it that no server keeps an upload busy for ever. There are only so many new bytes in a file, and between two of
 * them every kind of turn that does not advance is counted. (Failures are bounded by time, see backoff.ts.)
 */
export class Guard {
  /** The most bytes that were ever held. */
  #best = -1
  #offset: number | undefined
  #sameOffset = 0
  #stepsBack = 0
  #restarts = 0
  #wrongAnswers = 0

  /**
   * A fragment from `start` on was sent, and the server wants `offset` next.
   * @returns how often in a row it did not advance; 0 if it did
   * @throws {UploadError} `stuck`
   */
  moved(start: number, offset: number): number {
    this.#wrongAnswers = 0
    this.#sameOffset = offset === this.#offset ? this.#sameOffset + 1 : 1
    this.#offset = offset
    if (offset > this.#best) {
      this.#best = offset
      this.#stepsBack = 0
      this.#restarts = 0
    } else if (offset <= start) {
      this.#stepsBack += 1
    }
    if (this.#sameOffset >= MaxStrikes) {
      throw new UploadError('stuck', `It wanted byte ${offset} ${MaxStrikes} times in a row.`)
    }
    if (this.#stepsBack > MaxSteps) {
      throw new UploadError(
        'stuck',
        `It went back ${MaxSteps} times, and never got beyond byte ${this.#best}.`,
      )
    }
    return offset > start ? 0 : this.#stepsBack
  }

  /**
   * The server forgot the session.
   * @returns how often it did since there was last a new byte
   * @throws {UploadError} `session-lost`
   */
  forgotten(setback: Setback): number {
    this.#offset = undefined
    this.#restarts += 1
    if (this.#restarts > MaxRestarts) throw setback.asError('session-lost')
    return this.#restarts
  }

  /** @throws {UploadError} `invalid-answer` */
  answeredWrong(setback: Setback): void {
    this.#wrongAnswers += 1
    if (this.#wrongAnswers >= MaxStrikes) throw setback.asError('invalid-answer')
  }
}
