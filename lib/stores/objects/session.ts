import { isSettled, stateOf } from '../state.ts'
import type { Session } from '../store.ts'
import { receivedOf } from './held.ts'
import type { SessionRecord } from './record.ts'

/** A session with what only this store needs to know. */
export interface ObjectSession extends Session {
  readonly record: SessionRecord
}

/**
 * What a record says of its session.
 * @param isThere whether the bytes that are said to be held were found
 */
export function sessionOf(record: SessionRecord, isThere = true): ObjectSession {
  const { facts } = record
  const { session, held, total, accepted, rejected, updatedAt } = facts
  const sure = held && isThere ? receivedOf(held) : 0
  return {
    ...session,
    state: stateOf(facts, isThere ? sure : undefined),
    received: isSettled(facts) ? (total ?? 0) : sure,
    ...(total !== undefined && { total }),
    updatedAt,
    ...(accepted && { decision: accepted }),
    ...(rejected !== undefined && { rejection: rejected }),
    record,
  }
}
