import { isFinal, stateOf } from '../state.ts'
import type { Decision, NewSession, Session } from '../store.ts'
import { randomId, receivedOf, recordKey, type UploadLayout } from './layout.ts'
import { ConditionFailed, type ObjectService, type ServiceOptions } from './service/service.ts'

/** What is known of a session. */
export interface RecordState {
  readonly session: NewSession
  /** Milliseconds since 1970. */
  readonly updatedAt: number
  /** Size of the whole file. */
  readonly total?: number
  /** The bytes; nothing before the first fragment, and when the file is published or rejected. */
  readonly held?: UploadLayout
  readonly accepted?: Decision
  /** The name of the reply that was kept. */
  readonly reply?: string
  readonly rejected?: string
  /** A join to the file's name was begun: it may have left something. */
  readonly publishing?: true
  readonly published?: true
}

/** The record of a session as it was seen: it can be advanced only if nobody else has advanced it since. */
export class SessionRecord {
  readonly #service: ObjectService
  #facts: RecordState
  #version: string

  private constructor(service: ObjectService, facts: RecordState, version: string) {
    this.#service = service
    this.#facts = facts
    this.#version = version
  }

  /** Begins a record, whole or not at all. */
  static async begin(
    service: ObjectService,
    session: NewSession,
    options: ServiceOptions,
  ): Promise<SessionRecord> {
    const facts: RecordState = { session, updatedAt: session.created }
    const condition = 'absent'
    const version = await service.put(recordKey(session.id), serialized(facts), { ...options, condition })
    return new SessionRecord(service, facts, version)
  }

  static async read(
    service: ObjectService,
    id: string,
    options?: ServiceOptions,
  ): Promise<SessionRecord | undefined> {
    const found = await service.get(recordKey(id), options)
    const facts = found && parseRecord(found.bytes)
    return facts && new SessionRecord(service, facts, found.version)
  }

  get facts(): RecordState {
    return this.#facts
  }

  /** Whether nobody advanced the session between the two. */
  hasSameVersion(other: SessionRecord): boolean {
    return this.#version === other.#version
  }

  /**
   * Asks whether it is still what is known.
   * @throws {ConditionFailed} as `advance` does
   */
  async assertCurrent(): Promise<void> {
    const now = await SessionRecord.read(this.#service, this.#facts.session.id)
    if (!now?.hasSameVersion(this)) throw new ConditionFailed('Another server went on with the session')
  }

  /**
   * Adds to what is known. It is durable when this resolves.
   * @throws {ConditionFailed} somebody else has advanced the session since, or removed it
   */
  async update(changes: { readonly [K in keyof RecordState]?: RecordState[K] | undefined }): Promise<void> {
    const facts = JSON.parse(JSON.stringify({ ...this.#facts, ...changes })) as RecordState
    const condition = { version: this.#version }
    this.#version = await this.#service.put(recordKey(facts.session.id), serialized(facts), { condition })
    this.#facts = facts
  }
}

/** With something that never was before, because a version may be nothing but a checksum of the bytes. */
const serialized = (facts: RecordState): Uint8Array[] => [
  Buffer.from(JSON.stringify({ version: 1, revision: randomId(), ...facts })),
]

/** Undefined for what is no record of ours. */
function parseRecord(bytes: Buffer): RecordState | undefined {
  try {
    const {
      version,
      revision: _,
      ...facts
    } = JSON.parse(bytes.toString()) as RecordState & Record<string, unknown>
    return version === 1 ? facts : undefined
  } catch {
    return undefined
  }
}

/** A session with what only this store needs to know. */
export interface ObjectSession extends Session {
  readonly record: SessionRecord
}

/**
 * What a record says of its session.
 * @param isThere whether the bytes that are said to be held were found
 */
export function toSession(record: SessionRecord, isThere = true): ObjectSession {
  const { facts } = record
  const { session, held, total, accepted, rejected, updatedAt } = facts
  const sure = held && isThere ? receivedOf(held) : 0
  return {
    ...session,
    state: stateOf(facts, isThere ? sure : undefined),
    received: isFinal(facts) ? (total ?? 0) : sure,
    ...(total !== undefined && { total }),
    updatedAt,
    ...(accepted && { decision: accepted }),
    ...(rejected !== undefined && { rejection: rejected }),
    record,
  }
}
