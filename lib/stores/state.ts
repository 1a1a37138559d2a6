import { BitsError } from '../protocol/errors.ts'
import type { Decision, Session, SessionState } from './store.ts'

/** The fields of a saved session that its state depends on. */
interface StateFields {
  readonly total?: number
  readonly accepted?: Decision | null
  readonly rejected?: string
  readonly published?: true
}

/**
 * The state of a saved session.
 * @param held bytes that are certain to exist; undefined if no bytes were ever written, or the data file is
 * missing
 */
export function stateOf(fields: StateFields, held: number | undefined): SessionState {
  if (fields.published) return 'published'
  if (fields.rejected !== undefined) return 'rejected'
  if (fields.accepted?.publish === false) return 'accepted'
  if (held === undefined && fields.total !== undefined) return 'lost'
  if (!fields.accepted) return 'receiving'
  return held === fields.total ? 'accepted' : 'lost'
}

/** Whether no further step needs the bytes. */
export const isFinal = ({ published, rejected, accepted }: StateFields): boolean =>
  published === true || rejected !== undefined || accepted?.publish === false

/** Whether the bytes that may still exist are no longer needed. */
export const isDataObsolete = ({ state }: Session): boolean => state === 'published' || state === 'rejected'

/** The error for a session that a newer version of this package has written. */
export const newerFormatError = (version: number): BitsError =>
  new BitsError(
    'store-failed',
    `The session has format ${version}, and this version of express-bits-upload reads format 1: use the version that wrote it`,
  )
