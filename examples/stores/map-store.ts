/** The store of "A complete store" in lib/stores/README.md: a small store that passes `storeSuite`. */
import { Readable } from 'node:stream'
import { BitsError, type NewSession, type Session, type Store } from 'express-bits-upload'

interface Entry {
  session: Session
  readonly chunks: Buffer[]
  reply?: { readonly bytes: Buffer; readonly modified: number }
}

/** @param files the published files */
export function mapStore(files: Map<string, Buffer>): Store {
  const entries = new Map<string, Entry>()
  const entryOf = ({ id }: NewSession): Entry => {
    const entry = entries.get(id)
    if (!entry) throw new BitsError('session-not-found')
    return entry
  }
  const update = (entry: Entry, changes: Partial<Session>): Session => {
    entry.session = { ...entry.session, ...changes }
    return entry.session
  }
  const rejectTakenName = ({ name, overwrite }: NewSession): void => {
    if (files.has(name) && !overwrite) throw new BitsError('destination-exists')
  }

  return {
    async create(session) {
      rejectTakenName(session)
      const created: Session = { ...session, state: 'receiving', received: 0, updatedAt: session.created }
      entries.set(session.id, { session: created, chunks: [] })
      return created
    },
    load: async (id) => entries.get(id)?.session,
    async append(session, body, { total }) {
      const entry = entryOf(session)
      update(entry, { total })
      try {
        for await (const batch of body) {
          // A copy, because the body uses the memory of the batch again.
          const bytes = Buffer.concat(batch)
          entry.chunks.push(bytes)
          update(entry, { received: entry.session.received + bytes.length })
        }
      } finally {
        update(entry, { updatedAt: Date.now() })
      }
      return entry.session
    },
    accept: async (session, decision) => void update(entryOf(session), { state: 'accepted', decision }),
    reject: async (session, rejection) => void update(entryOf(session), { state: 'rejected', rejection }),
    async publish(session) {
      const entry = entryOf(session)
      if (entry.session.state === 'published') return
      rejectTakenName(session)
      files.set(session.name, Buffer.concat(entry.chunks))
      update(entry, { state: 'published' })
    },
    read: (session) => Readable.from(entryOf(session).chunks, { objectMode: false }),
    async saveReply(session, body) {
      const bytes: Buffer[] = []
      for await (const batch of body ?? []) bytes.push(Buffer.concat(batch))
      entryOf(session).reply = { bytes: Buffer.concat(bytes), modified: Date.now() }
    },
    async loadReply(session) {
      const reply = entries.get(session.id)?.reply
      if (!reply) return undefined
      const read = (first: number, last: number): Readable =>
        Readable.from([reply.bytes.subarray(first, last + 1)], { objectMode: false })
      return { size: reply.bytes.length, modified: reply.modified, read }
    },
    remove: async ({ id }) => void entries.delete(id),
    async *list() {
      for (const { session } of entries.values()) yield session
    },
  }
}
