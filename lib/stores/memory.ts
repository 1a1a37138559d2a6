import { Readable } from 'node:stream'
import { BitsError } from '../protocol/errors.ts'
import { assertKnownKeys, optionError } from '../validate.ts'
import {
  type AppendOptions,
  type Body,
  byteLength,
  type Decision,
  type NewSession,
  type Session,
  type SessionState,
  type Store,
  type StoredReply,
} from './store.ts'

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /**
   * Maximum number of bytes of all sessions and published files together; above it an upload fails with `disk-full`.
   * Default: 64 MiB.
   */
  readonly capacity?: number
}

/** A store in memory, for tests and examples. It is lost when the process ends. */
export interface MemoryStore extends Store {
  /** The published files, by name. The application may remove files. */
  readonly files: Map<string, Buffer>
}

interface Entry {
  readonly session: NewSession
  readonly chunks: Uint8Array[]
  received: number
  total?: number
  state: SessionState
  updatedAt: number
  decision?: Decision
  rejection?: string
}

/**
 * A store in memory, for tests and examples. Sessions and files are lost when the process ends.
 *
 * @throws {TypeError} if an option is unknown or out of range
 * @example app.use('/upload', bitsUpload({ store: memoryStore() }))
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  assertKnownKeys('memoryStore', 'option', options, ['capacity'])
  const { capacity = 64 * 1024 * 1024 } = options
  if (!(capacity > 0)) throw optionError('memoryStore', 'capacity', 'a number of bytes above 0', capacity)
  const entries = new Map<string, Entry>()
  const files = new Map<string, Buffer>()
  const replies = new Map<string, { readonly bytes: Buffer; readonly modified: number }>()

  const entryOf = (id: string): Entry => {
    const entry = entries.get(id)
    if (!entry) throw new BitsError('session-not-found')
    return entry
  }
  /**
   * Bytes of unfinished uploads and replies. Counted with each change, because each chunk checks the
   * capacity.
   */
  let sessionBytes = 0
  /** Bytes of published files, or more: the store does not see when the application removes a file. */
  let fileBytes = 0
  const checkSpace = (count: number): void => {
    if (sessionBytes + fileBytes + count <= capacity) return
    fileBytes = byteLength([...files.values()])
    if (sessionBytes + fileBytes + count > capacity) throw new BitsError('disk-full')
  }
  const dropChunks = ({ chunks }: Entry): void => {
    sessionBytes -= byteLength(chunks)
    chunks.length = 0
  }
  const dropReply = (id: string): void => {
    sessionBytes -= replies.get(id)?.bytes.length ?? 0
    replies.delete(id)
  }
  const snapshot = ({ session, chunks: _, ...rest }: Entry): Session => ({ ...session, ...rest })
  const rejectTakenName = ({ name, overwrite }: NewSession): void => {
    if (files.has(name) && !overwrite) throw new BitsError('destination-exists')
  }

  return {
    files,

    async create(session) {
      rejectTakenName(session)
      const entry: Entry = {
        session,
        chunks: [],
        received: 0,
        state: 'receiving',
        updatedAt: session.created,
      }
      entries.set(session.id, entry)
      return snapshot(entry)
    },

    async load(id) {
      const entry = entries.get(id)
      return entry && snapshot(entry)
    },

    async append({ id }, body: Body, { total }: AppendOptions) {
      const entry = entryOf(id)
      entry.total = total
      try {
        for await (const chunks of body) {
          for (const chunk of chunks) {
            // The session was removed meanwhile: these bytes would never be freed.
            if (entries.get(id) !== entry) throw new BitsError('session-not-found')
            checkSpace(chunk.length)
            // A copy, because the body reuses the memory for the next batch.
            entry.chunks.push(Buffer.from(chunk))
            entry.received += chunk.length
            sessionBytes += chunk.length
          }
        }
      } finally {
        entry.updatedAt = Date.now()
      }
      return snapshot(entry)
    },

    async accept({ id }, decision) {
      Object.assign(entryOf(id), { state: 'accepted', decision })
    },

    async reject({ id }, rejection) {
      const entry = entryOf(id)
      Object.assign(entry, { state: 'rejected', rejection })
      dropChunks(entry)
    },

    async publish({ id }) {
      const entry = entryOf(id)
      if (entry.state === 'published') return
      rejectTakenName(entry.session)
      files.set(entry.session.name, Buffer.concat(entry.chunks))
      fileBytes += entry.received
      dropChunks(entry)
      entry.state = 'published'
    },

    read: ({ id }) => Readable.from(entryOf(id).chunks, { objectMode: false }),

    async saveReply({ id }, body) {
      const copies: Uint8Array[] = []
      let size = 0
      for await (const chunks of body ?? []) {
        size += byteLength(chunks)
        checkSpace(size)
        copies.push(...chunks.map((chunk) => Buffer.from(chunk)))
      }
      // Throws if the session was removed meanwhile: the reply would never be freed.
      entryOf(id)
      dropReply(id)
      replies.set(id, { bytes: Buffer.concat(copies), modified: Date.now() })
      sessionBytes += size
    },

    async loadReply({ id }): Promise<StoredReply | undefined> {
      const reply = replies.get(id)
      if (!reply) return undefined
      const read = (first: number, last: number) =>
        Readable.from([reply.bytes.subarray(first, last + 1)], { objectMode: false })
      return { size: reply.bytes.length, modified: reply.modified, read }
    },

    async remove({ id }) {
      dropReply(id)
      const entry = entries.get(id)
      if (entry) dropChunks(entry)
      entries.delete(id)
    },

    async *list() {
      for (const entry of entries.values()) yield snapshot(entry)
    },
  }
}
