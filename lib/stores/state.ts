import type { Decision, Session, SessionState } from './store.ts'

/** What a record says of what was decided. */
interface Decisions {
  readonly total?: number
  readonly accepted?: Decision | null
  readonly rejected?: string
  readonly published?: true
}

/**
 * What a record says of its session.
 * @param held bytes of the part that are surely there; undefined where there is no part
 */
export function stateOf(facts: Decisions, held: number | undefined): SessionState {
  if (facts.published) return 'published'
  if (facts.rejected !== undefined) return 'rejected'
  if (facts.accepted?.publish === false) return 'accepted'
  if (held === undefined && facts.total !== undefined) return 'lost'
  if (!facts.accepted) return 'receiving'
  return held === facts.total ? 'accepted' : 'lost'
}

/** Whether all is done that needs the part. */
export const isFinal = ({ published, rejected, accepted }: Decisions): boolean =>
  published === true || rejected !== undefined || accepted?.publish === false

/** Whether the part, if there still is one, is of no use any more. */
export const isDataObsolete = ({ state }: Session): boolean => state === 'published' || state === 'rejected'
