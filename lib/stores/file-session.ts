import type { Part } from './part.ts'
import type { Record } from './record.ts'
import type { ReplyFile } from './reply-file.ts'
import type { Decision, NewSession, Session, SessionState } from './store.ts'

/** What of a session changes. All of it is there, so that V8 has one hidden class for it. */
export interface Progress extends Pick<Session, 'state' | 'received' | 'updatedAt'> {
  readonly total: number | undefined
  readonly decision: Decision | undefined
  readonly rejection: string | undefined
}

/** Where a session is kept. */
export interface SessionFiles {
  readonly record: Record
  readonly part: Part
  readonly reply: ReplyFile
}

/**
 * A session with what only the file store needs to know. A class, because V8 makes a hidden class of its own for each
 * object that is put together of several: 400 bytes more, and no inline cache knows it.
 */
export class FileSession implements Session, SessionFiles {
  readonly id: string
  readonly name: string
  readonly path: string
  readonly url: string
  declare readonly owner?: string
  readonly maxSize: number
  readonly overwrite: boolean
  declare readonly metadata?: Readonly<globalThis.Record<string, string>>
  readonly created: number
  readonly state: SessionState
  readonly received: number
  readonly updatedAt: number
  declare readonly total?: number
  declare readonly decision?: Decision
  declare readonly rejection?: string
  readonly record: Record
  readonly part: Part
  readonly reply: ReplyFile

  constructor(begun: NewSession, now: Progress, files: SessionFiles) {
    this.id = begun.id
    this.name = begun.name
    this.path = begun.path
    this.url = begun.url
    this.maxSize = begun.maxSize
    this.overwrite = begun.overwrite
    this.created = begun.created
    this.state = now.state
    this.received = now.received
    this.updatedAt = now.updatedAt
    this.record = files.record
    this.part = files.part
    this.reply = files.reply
    if (begun.owner !== undefined) this.owner = begun.owner
    if (begun.metadata) this.metadata = begun.metadata
    if (now.total !== undefined) this.total = now.total
    if (now.decision) this.decision = now.decision
    if (now.rejection !== undefined) this.rejection = now.rejection
  }
}

/** Closes what is open of a session. */
export function releaseFiles({ part, record }: SessionFiles): void {
  part.file.letGo()
  record.letGo()
}
