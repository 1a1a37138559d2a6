/** A session whose saved data cannot be read, beside others, in a file store. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type BitsUploadOptions, type FileSystem, fileStore } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { failing, withCalls } from '../support/file-system.ts'
import { uploadServer } from '../support/server.ts'
import { listed, newSession } from '../support/store.ts'

type Damage = 'cannot be read' | 'is corrupt' | 'is of a newer format'

/** Starts a server on a directory in which another process has created a session with damaged data. */
async function start(damage: Damage, options: Partial<BitsUploadOptions>) {
  const directory = await temporaryDirectory()
  const others = fileStore(directory)
  const bad = await others.create(newSession({ name: 'bad.bin' }))
  const path = join(directory, '.bits-sessions', `${bad.id}.json`)
  const text = await readFile(path, 'utf8')
  if (damage === 'is corrupt') await writeFile(path, text.replace('bad.bin', 'bed.bin'))
  if (damage === 'is of a newer format') await writeFile(path, text.replace('"version":1', '"version":2'))
  const readJournal: FileSystem['readFile'] = async (file, encoding) =>
    damage === 'cannot be read' && file === path ? failing('EIO') : nodeFileSystem.readFile(file, encoding)
  const store = fileStore(directory, { fileSystem: withCalls({ readFile: readJournal }) })
  const { upload, url } = await uploadServer({ store, sweepEvery: 0, ...options })
  const create = async (name: string) => (await new TestClient(new URL(name, url)).create()).status
  return { directory, store, others, bad, upload, create }
}

describe.each(['cannot be read', 'is corrupt', 'is of a newer format'] as const)(
  'Session that %s',
  (damage) => {
    it('does not keep a sweep from removing and counting the others, and is kept', async () => {
      const { directory, store, others, bad, upload, create } = await start(damage, { maxSessions: 3 })
      for (const name of ['a', 'b']) await others.create(newSession({ name }))
      await expect(upload.sweep()).rejects.toThrow(damage === 'cannot be read' ? 'EIO' : bad.id)
      // The third is the last one.
      expect([await create('c.bin'), await create('d.bin')]).toEqual([200, 503])
      expect(await readdir(join(directory, '.bits-sessions'))).toContain(`${bad.id}.json`)
      await expect(listed(store)).rejects.toThrow()
    })

    it('does not keep a Create-Session at the limit from a recount', async () => {
      const { store, upload, create } = await start(damage, { maxSessions: 1 })
      let id = ''
      upload.events.on('created', (session) => {
        id = session.id
      })
      expect(await create('a.bin')).toBe(200)
      // As another process does.
      const session = await store.load(id)
      if (session) await store.remove(session)
      expect(await create('b.bin')).toBe(200)
    })

    it('does not keep a sweep from removing the newest session above the limit of an owner', async () => {
      const { others, upload } = await start(damage, { maxSessionsPerOwner: 2 })
      const ids: string[] = []
      for (let i = 0; i < 3; i += 1) {
        const created = Date.now() - 1000 + i
        ids.push((await others.create(newSession({ name: `${i}`, owner: 'ann', created }))).id)
      }
      const expired: string[] = []
      upload.events.on('expired', ({ id }) => expired.push(id))
      await expect(upload.sweep()).rejects.toThrow()
      expect(expired).toEqual(ids.slice(2))
    })
  },
)
