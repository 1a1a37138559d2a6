import { checkFormat, corruptError, isFinal, readCheckedLine, stateOf, toCheckedLine } from '../state.ts'
import type { Decision, NewSession, Session } from '../store.ts'
import { randomId, receivedOf, recordKey, type UploadLayout } from './layout.ts'
import { ConditionFailed, type ObjectService, type ServiceOptions } from './service/service.ts'

/** A session of the object store, with its record. */
export interface ObjectSession extends Session {
  readonly record: SessionRecord
}

/** The content of a session's record. */
export interface RecordState {
  readonly session: NewSession
  /** Milliseconds since 1970. */
  readonly updatedAt: number
  /** Size of the whole file in bytes. */
  readonly total?: number
  /** Undefined before the first fragment, and after the file was published or rejected. */
  readonly layout?: UploadLayout
  readonly accepted?: Decision
  /** Name of the stored reply. */
  readonly reply?: string
  readonly rejected?: string
  /** A compose call for the file's name was started and may have left an unfinished upload. */
  readonly publishing?: true
  readonly published?: true
}

/**
 * The record of a session in the version that was last read or written here. Updates are compare-and-swap:
 * they fail if another server has updated or removed the record since.
 */
export class SessionRecord {
  readonly #service: ObjectService
  #state: RecordState
  #version: string

  private constructor(service: ObjectService, state: RecordState, version: string) {
    this.#service = service
    this.#state = state
    this.#version = version
  }

  static async create(
    service: ObjectService,
    session: NewSession,
    options: ServiceOptions,
  ): Promise<SessionRecord> {
    const state: RecordState = { session, updatedAt: session.created }
    const condition = 'absent'
    const version = await service.put(recordKey(session.id), serializeRecord(state), {
      ...options,
      condition,
    })
    return new SessionRecord(service, state, version)
  }

  /**
   * Undefined if there is no record.
   * @throws {BitsError} `store-failed` for a record that is corrupt, or of a newer format
   */
  static async read(
    service: ObjectService,
    id: string,
    options?: ServiceOptions,
  ): Promise<SessionRecord | undefined> {
    const found = await service.get(recordKey(id), options)
    const state = found && parseRecord(id, found.bytes)
    return found && state && new SessionRecord(service, state, found.version)
  }

  get state(): RecordState {
    return this.#state
  }

  /** Whether the record was not updated between the two reads. */
  hasSameVersion(other: SessionRecord): boolean {
    return this.#version === other.#version
  }

  /**
   * Reads the record again and checks that it is unchanged.
   * @throws {ConditionFailed} another server has updated or removed it
   */
  async assertCurrent(): Promise<void> {
    const current = await SessionRecord.read(this.#service, this.#state.session.id)
    if (!current?.hasSameVersion(this)) {
      throw new ConditionFailed('Another server has updated or removed the session')
    }
  }

  /**
   * Writes the record with these changes; undefined removes a field. It is durable when this resolves.
   * @throws {ConditionFailed} another server has updated or removed it
   */
  async update(changes: { readonly [K in keyof RecordState]?: RecordState[K] | undefined }): Promise<void> {
    // JSON leaves out the fields that are undefined.
    const state = JSON.parse(JSON.stringify({ ...this.#state, ...changes })) as RecordState
    const condition = { version: this.#version }
    const bytes = serializeRecord(state)
    this.#version = await this.#service.put(recordKey(state.session.id), bytes, { condition })
    this.#state = state
  }
}

/** Adds a unique revision, because the version of an object may be only a checksum of its bytes. */
const serializeRecord = (state: RecordState): Uint8Array[] => [
  Buffer.from(toCheckedLine({ version: 1, revision: randomId(), ...state })),
]

function parseRecord(id: string, bytes: Buffer): RecordState {
  const text = bytes.toString()
  checkFormat(text, id)
  // A service never keeps the beginning of an object.
  const record: (Partial<RecordState> & Record<string, unknown>) | undefined = readCheckedLine(text, id)
  if (!record) throw corruptError(id)
  const { version, revision: _, ...state } = record
  if (version !== 1 || state.session?.id !== id) throw corruptError(id)
  return state as RecordState
}

/**
 * The session that a record describes.
 * @param hasBytes whether all objects of its layout exist
 */
export function toSession(record: SessionRecord, hasBytes = true): ObjectSession {
  const { state } = record
  const { session, layout, total, accepted, rejected, updatedAt } = state
  const received = layout && hasBytes ? receivedOf(layout) : 0
  return {
    ...session,
    state: stateOf(state, hasBytes ? received : undefined),
    received: isFinal(state) ? (total ?? 0) : received,
    ...(total !== undefined && { total }),
    updatedAt,
    ...(accepted && { decision: accepted }),
    ...(rejected !== undefined && { rejection: rejected }),
    record,
  }
}
