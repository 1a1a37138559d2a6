import { Readable } from 'node:stream'
import { BitsError } from '../protocol/errors.ts'
import { assertKnownKeys } from '../validate.ts'
import { byteLength } from './chunks.ts'
import type {
  AppendOptions,
  Body,
  Decision,
  NewSession,
  Session,
  SessionState,
  Store,
  StoredReply,
} from './store.ts'

/** Options of {@link memoryStore}. */
export interface MemoryStoreOptions {
  /** Bytes that all sessions and files may have together; then uploads end with `disk-full`. Default: 64 MiB. */
  readonly capacity?: number
}

/** A store that forgets with the process: for tests and examples. */
export interface MemoryStore extends Store {
  /** What was published, by name. The application may take files out. */
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
 * Keeps sessions and files in memory.
 *
 * @example app.use('/upload', bitsUpload({ store: memoryStore() }))
 */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  assertKnownKeys('memoryStore', 'option', options, ['capacity'])
  const { capacity = 64 * 1024 * 1024 } = options
  if (!(capacity > 0)) throw new TypeError('memoryStore: capacity is a number of bytes above 0')
  const entries = new Map<string, Entry>()
  const files = new Map<string, Buffer>()
  const replies = new Map<string, { readonly bytes: Buffer; readonly modified: number }>()

  const entryOf = (id: string): Entry => {
    const entry = entries.get(id)
    if (!entry) throw new BitsError('session-not-found')
    return entry
  }
  /** Bytes of parts and replies: counted as they come and go, for each chunk asks. */
  let resting = 0
  /** Bytes of files at most: the application takes them out without a word. */
  let filed = 0
  const checkSpace = (count: number): void => {
    if (resting + filed + count <= capacity) return
    filed = byteLength([...files.values()])
    if (resting + filed + count > capacity) throw new BitsError('disk-full')
  }
  const dropPart = ({ chunks }: Entry): void => {
    resting -= byteLength(chunks)
    chunks.length = 0
  }
  const dropReply = (id: string): void => {
    resting -= replies.get(id)?.bytes.length ?? 0
    replies.delete(id)
  }
  const snapshot = ({ session, chunks: _, ...rest }: Entry): Session => ({ ...session, ...rest })
  const refuseTaken = ({ name, overwrite }: NewSession): void => {
    if (files.has(name) && !overwrite) throw new BitsError('destination-exists')
  }

  return {
    files,

    async create(session) {
      refuseTaken(session)
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
            // Removed meanwhile: nobody would count, or drop, what it gets now.
            if (entries.get(id) !== entry) throw new BitsError('session-not-found')
            checkSpace(chunk.length)
            // A copy: the memory is the giver's again when he is asked for more.
            entry.chunks.push(Buffer.from(chunk))
            entry.received += chunk.length
            resting += chunk.length
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
      dropPart(entry)
    },

    async publish({ id }) {
      const entry = entryOf(id)
      if (entry.state === 'published') return
      refuseTaken(entry.session)
      files.set(entry.session.name, Buffer.concat(entry.chunks))
      filed += entry.received
      dropPart(entry)
      entry.state = 'published'
    },

    read: ({ id }) => Readable.from(entryOf(id).chunks, { objectMode: false }),

    async saveReply({ id }, body) {
      const kept: Uint8Array[] = []
      let size = 0
      for await (const chunks of body ?? []) {
        size += byteLength(chunks)
        checkSpace(size)
        kept.push(...chunks.map((chunk) => Buffer.from(chunk)))
      }
      // Removed meanwhile: nobody would drop it.
      entryOf(id)
      dropReply(id)
      replies.set(id, { bytes: Buffer.concat(kept), modified: Date.now() })
      resting += size
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
      if (entry) dropPart(entry)
      entries.delete(id)
    },

    async *list() {
      for (const entry of entries.values()) yield snapshot(entry)
    },
  }
}
