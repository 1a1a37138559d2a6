import { ConditionFailed, type ObjectSpace, type SpaceOptions } from '../../objects/space.ts'
import type { Decision, NewSession } from '../store.ts'
import type { Held } from './held.ts'
import { recordPlace, unique } from './places.ts'

/** What is known of a session. */
export interface Facts {
  readonly session: NewSession
  /** Milliseconds since 1970. */
  readonly updatedAt: number
  /** Size of the whole file. */
  readonly total?: number
  /** The bytes; nothing before the first fragment, and when the file is published or rejected. */
  readonly held?: Held
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
  readonly #space: ObjectSpace
  #facts: Facts
  #version: string

  private constructor(space: ObjectSpace, facts: Facts, version: string) {
    this.#space = space
    this.#facts = facts
    this.#version = version
  }

  /** Begins a record, whole or not at all. */
  static async begin(space: ObjectSpace, session: NewSession, options: SpaceOptions): Promise<SessionRecord> {
    const facts: Facts = { session, updatedAt: session.created }
    const condition = 'absent'
    const version = await space.put(recordPlace(session.id), serialized(facts), { ...options, condition })
    return new SessionRecord(space, facts, version)
  }

  static async read(
    space: ObjectSpace,
    id: string,
    options?: SpaceOptions,
  ): Promise<SessionRecord | undefined> {
    const found = await space.get(recordPlace(id), options)
    const facts = found && parse(found.bytes)
    return facts && new SessionRecord(space, facts, found.version)
  }

  get facts(): Facts {
    return this.#facts
  }

  /** Whether nobody advanced the session between the two. */
  isSame(other: SessionRecord): boolean {
    return this.#version === other.#version
  }

  /**
   * Asks whether it is still what is known.
   * @throws {ConditionFailed} as `advance` does
   */
  async confirm(): Promise<void> {
    const now = await SessionRecord.read(this.#space, this.#facts.session.id)
    if (!now?.isSame(this)) throw new ConditionFailed('Another server went on with the session')
  }

  /**
   * Adds to what is known. It is durable when this resolves.
   * @throws {ConditionFailed} somebody else has advanced the session since, or removed it
   */
  async advance(changes: { readonly [K in keyof Facts]?: Facts[K] | undefined }): Promise<void> {
    const facts = JSON.parse(JSON.stringify({ ...this.#facts, ...changes })) as Facts
    const condition = { version: this.#version }
    this.#version = await this.#space.put(recordPlace(facts.session.id), serialized(facts), { condition })
    this.#facts = facts
  }
}

/** With something that never was before, because a version may be nothing but a checksum of the bytes. */
const serialized = (facts: Facts): Uint8Array[] => [
  Buffer.from(JSON.stringify({ version: 1, revision: unique(), ...facts })),
]

/** Undefined for what is no record of ours. */
function parse(bytes: Buffer): Facts | undefined {
  try {
    const { version, revision: _, ...facts } = JSON.parse(bytes.toString()) as Facts & Record<string, unknown>
    return version === 1 ? facts : undefined
  } catch {
    return undefined
  }
}
