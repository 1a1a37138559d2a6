import { BitsError } from '../../protocol/errors.ts'
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
  /** The parts are objects of their own, because a hook may read them, or because an upload to the final key was lost. */
  readonly separate?: true
  /** Undefined before the first fragment, after a loss, and after the file was published or rejected. */
  readonly layout?: UploadLayout
  /** A node is about to create an upload to the final key. */
  readonly starting?: true
  /** There may be uploads to the final key whose ids are in no record. */
  readonly strays?: true
  readonly lease?: LeaseState
  readonly accepted?: Decision
  /** Name of the stored reply. */
  readonly reply?: string
  readonly rejected?: string
  readonly published?: true
  /** The session has ended. For packets it does not exist any more. */
  readonly removed?: true
}

/** A lease, which one packet holds at a time. */
export interface LeaseState {
  /** Random; of the packet that holds the lease. */
  readonly token: string
  /** Number of renewals. */
  readonly renewals: number
}

/** Changes of a record; undefined removes a field. */
export type RecordChanges = { readonly [K in keyof RecordState]?: RecordState[K] | undefined }

/**
 * The record of a session in the version that was last read or written here. An update is conditional: it fails if another
 * node has updated or removed the record since.
 */
export class SessionRecord {
  readonly #service: ObjectService
  #state: RecordState
  #version: string
  #checkedAt = performance.now()
  /** A lease is renewed while other updates are made. */
  #lastUpdate: Promise<unknown> = Promise.resolve()

  private constructor(service: ObjectService, state: RecordState, version: string) {
    this.#service = service
    this.#state = state
    this.#version = version
  }

  static async create(
    service: ObjectService,
    state: RecordState,
    options: ServiceOptions,
  ): Promise<SessionRecord> {
    const key = recordKey(state.session.id)
    const version = await service.put(key, serializeRecord(state), { ...options, condition: 'absent' })
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

  /** Changes with each write. */
  get version(): string {
    return this.#version
  }

  /** When the record was last read or written, by the monotonic clock. */
  get checkedAt(): number {
    return this.#checkedAt
  }

  /**
   * Reads the record again.
   * @returns whether it has changed
   * @throws {BitsError} `session-not-found` if the session has ended
   */
  async reload(options?: ServiceOptions): Promise<boolean> {
    const before = this.#version
    const current = await SessionRecord.read(this.#service, this.#state.session.id, options)
    if (!current || current.state.removed) throw new BitsError('session-not-found')
    this.#state = current.#state
    this.#version = current.#version
    this.#checkedAt = performance.now()
    return this.#version !== before
  }

  /**
   * Writes the record with these changes, after all updates that are in progress. It is durable when this resolves.
   * @param changes or a function that returns them for the state at that time; it returns undefined if there is nothing to write
   * @throws {ConditionFailed} another node has updated or removed it
   */
  update(
    changes: RecordChanges | ((state: RecordState) => RecordChanges | undefined),
    options?: ServiceOptions,
  ): Promise<void> {
    const update = async (): Promise<void> => {
      const current = typeof changes === 'function' ? changes(this.#state) : changes
      if (current) await this.#update(current, options)
    }
    const updated = this.#lastUpdate.then(update, update)
    this.#lastUpdate = updated.catch(() => {})
    return updated
  }

  async #update(changes: RecordChanges, options: ServiceOptions = {}): Promise<void> {
    const entries = Object.entries({ ...this.#state, ...changes }).filter(([, value]) => value !== undefined)
    const state = Object.fromEntries(entries) as unknown as RecordState
    const condition = { version: this.#version }
    this.#version = await this.#service.put(recordKey(state.session.id), serializeRecord(state), {
      ...options,
      condition,
    })
    this.#state = state
    this.#checkedAt = performance.now()
  }
}

/**
 * A fragment that another node has overtaken gets the error after which the session is loaded again.
 * @throws {BitsError} `out-of-sync` instead of {@link ConditionFailed}
 */
export function throwOutOfSync(error: unknown): never {
  if (!(error instanceof ConditionFailed)) throw error
  throw outOfSync('Another server has updated or removed the session', error)
}

export const outOfSync = (message: string, cause?: unknown): BitsError =>
  new BitsError('out-of-sync', message, { cause })

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
 * @param hasBytes whether the objects of its layout exist
 */
export function toSession(record: SessionRecord, hasBytes = true): ObjectSession {
  const { state } = record
  const { session, layout, total, accepted, rejected, updatedAt } = state
  const received = layout && hasBytes ? receivedOf(layout) : 0
  return {
    ...session,
    state: stateOf(state, layout && hasBytes ? received : undefined),
    received: isFinal(state) ? (total ?? 0) : received,
    ...(total !== undefined && { total }),
    updatedAt,
    ...(accepted && { decision: accepted }),
    ...(rejected !== undefined && { rejection: rejected }),
    record,
  }
}
