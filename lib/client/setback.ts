import { UploadError, type UploadErrorCode, type UploadErrorDetails } from './errors.ts'

/**
 * - `retry`: a break, or an answer that will not last; again later
 * - `forgotten`: the server does not know the session
 * - `shrink`: the fragment was too large
 */
export type SetbackKind = 'retry' | 'forgotten' | 'shrink'

export interface SetbackDetails extends UploadErrorDetails {
  /** A kept connection turned out to be closed, most likely: a fresh one will do. */
  readonly stale?: boolean
  /** The packet surely never left. */
  readonly unsent?: boolean
  /** The server itself says that the packet was not carried out; a gateway's error leaves that open. */
  readonly refused?: boolean
  /** The answer was wrong in a way that time does not mend. */
  readonly wrong?: boolean
}

/** Why a packet has to be sent again, or another one in its place; what to do about it is up to who sent it. */
export class Setback extends Error {
  override readonly name = 'Setback'
  readonly kind: SetbackKind
  readonly details: SetbackDetails

  constructor(kind: SetbackKind, message: string, details: SetbackDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.kind = kind
    this.details = details
  }

  /** What the caller is told when it was the last one. */
  asError(code: UploadErrorCode): UploadError {
    return new UploadError(code, `${this.message}.`, { ...this.details, cause: this })
  }
}
