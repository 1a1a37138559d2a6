import type { Acceptance, Session, SessionState } from './store.ts'

/** What a record says of what was decided. */
interface Decisions {
  readonly total?: number
  readonly accepted?: Acceptance | null
  readonly refused?: string
  readonly published?: true
}

/**
 * What a record says of its session.
 * @param held bytes of the part that are surely there; undefined where there is no part
 */
export function stateOf(facts: Decisions, held: number | undefined): SessionState {
  if (facts.published) return 'published'
  if (facts.refused !== undefined) return 'refused'
  if (facts.accepted?.publish === false) return 'accepted'
  if (held === undefined && facts.total !== undefined) return 'gone'
  if (!facts.accepted) return 'receiving'
  return held === facts.total ? 'accepted' : 'gone'
}

/** Whether all is done that needs the part. */
export const isSettled = ({ published, refused, accepted }: Decisions): boolean =>
  published === true || refused !== undefined || accepted?.publish === false

/** Whether the part, if there still is one, is of no use any more. */
export const isSpent = ({ state }: Session): boolean => state === 'published' || state === 'refused'
