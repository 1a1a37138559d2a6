import type { Decision, NewSession, Session, SessionState } from '../store.ts'
import type { SessionJournal } from './journal.ts'
import type { DataFile } from './part.ts'
import type { ReplyFile } from './reply-file.ts'

/** What of a session changes. All of it is there, so that V8 has one hidden class for it. */
export interface SessionProgress extends Pick<Session, 'state' | 'received' | 'updatedAt'> {
  readonly total: number | undefined
  readonly decision: Decision | undefined
  readonly rejection: string | undefined
}

/** Where a session is kept. */
export interface SessionFiles {
  readonly record: SessionJournal
  readonly part: DataFile
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
  readonly record: SessionJournal
  readonly part: DataFile
  readonly reply: ReplyFile

  constructor(created: NewSession, progress: SessionProgress, files: SessionFiles) {
    this.id = created.id
    this.name = created.name
    this.path = created.path
    this.url = created.url
    this.maxSize = created.maxSize
    this.overwrite = created.overwrite
    this.created = created.created
    this.state = progress.state
    this.received = progress.received
    this.updatedAt = progress.updatedAt
    this.record = files.record
    this.part = files.part
    this.reply = files.reply
    if (created.owner !== undefined) this.owner = created.owner
    if (created.metadata) this.metadata = created.metadata
    if (progress.total !== undefined) this.total = progress.total
    if (progress.decision) this.decision = progress.decision
    if (progress.rejection !== undefined) this.rejection = progress.rejection
  }
}

/** Closes what is open of a session. */
export function releaseFiles({ part, record }: SessionFiles): void {
  part.file.close()
  record.close()
}
