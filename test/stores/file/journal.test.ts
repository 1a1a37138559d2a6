import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { fileStore, type Session } from '../../../lib/index.ts'
import { readCheckedLine, toCheckedLine } from '../../../lib/stores/state.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { body, loaded, newSession, refusal } from '../../support/store.ts'

it('fileStore: reports a journal with any changed byte as corrupt, or ignores the last entry', async () => {
  const root = await temporaryDirectory()
  const store = fileStore(root)
  const created = await store.create(newSession({ owner: 'alice', metadata: { room: '12' } }))
  await store.append(created, body('abc'), { total: 3, durable: true })
  await store.accept(await loaded(store, created.id), { publish: true })
  store.release?.(created)
  const path = join(root, '.bits-sessions', `${created.id}.json`)
  const journal = await readFile(path)
  const { updatedAt: _, ...fields } = await loaded(store, created.id)
  const outcomes = { corrupt: 0, ignored: 0 }
  for (let at = 0; at < journal.length; at += 1) {
    const byte = journal.readUInt8(at)
    // Also a line feed, which ends a line, and a zero.
    for (const other of [byte ^ 1, byte ^ 2, byte ^ 4, byte ^ 8, byte ^ 0x20, byte ^ 0x80, 0x0a, 0]) {
      if (other === byte) continue
      const changed = Buffer.from(journal)
      changed.writeUInt8(other, at)
      await writeFile(path, changed)
      let found: Session | undefined
      try {
        found = await store.load(created.id)
      } catch (error) {
        expect(error).toMatchObject({ code: 'store-failed', message: expect.stringContaining(created.id) })
        outcomes.corrupt += 1
        continue
      }
      // A changed line feed: the line after it, or before it, is what it was.
      expect(found, `byte ${at}`).toMatchObject({
        id: created.id,
        name: 'a.bin',
        owner: 'alice',
        received: 3,
      })
      expect(found?.metadata).toEqual(fields.metadata)
      outcomes.ignored += 1
    }
  }
  expect(outcomes.corrupt / (outcomes.corrupt + outcomes.ignored)).toBeGreaterThan(0.99)
})

it('readCheckedLine: ignores each beginning of a line, and rejects each changed byte', () => {
  const line = toCheckedLine({
    accepted: { publish: true, reply: { url: 'http://a/ 01234567' } },
    synced: 12,
  })
  expect(readCheckedLine(line, 'an id')).toMatchObject({ synced: 12 })
  for (let length = 1; length < line.length; length += 1) {
    const beginning = line.slice(0, length)
    expect(readCheckedLine(beginning, 'an id'), beginning).toBeUndefined()
  }
  for (let at = 0; at < line.length; at += 1) {
    const changed = `${line.slice(0, at)}${String.fromCharCode(line.charCodeAt(at) ^ 2)}${line.slice(at + 1)}`
    expect(() => readCheckedLine(changed, 'an id'), changed).toThrow('an id is corrupt')
  }
})

it('fileStore: ignores lines with zeros, which a loss of power leaves', async () => {
  const root = await temporaryDirectory()
  const store = fileStore(root)
  const { id } = await store.append(await store.create(newSession()), body('abc'), {
    total: 3,
    durable: true,
  })
  const path = join(root, '.bits-sessions', `${id}.json`)
  const text = await readFile(path, 'utf8')
  await writeFile(
    path,
    text.replace(/"total":3/, (entry) => '\0'.repeat(entry.length)),
  )
  expect(await loaded(store, id)).toMatchObject({ received: 3 })
  await writeFile(path, text.replace('\n\n', '\0\n').replace(/\n$/, '\0'))
  expect(await loaded(store, id)).toMatchObject({ received: 3, total: 3 })
  // Then the session was not on disk at all.
  await writeFile(path, '\0'.repeat(text.length))
  expect(await store.load(id)).toBeUndefined()
})

it('fileStore: reports the journal of another session as corrupt', async () => {
  const root = await temporaryDirectory()
  const store = fileStore(root)
  const [one, other] = [await store.create(newSession()), await store.create(newSession({ name: 'b' }))]
  const path = (id: string) => join(root, '.bits-sessions', `${id}.json`)
  await writeFile(path(one.id), await readFile(path(other.id)))
  await expect(store.load(one.id)).rejects.toEqual(refusal('store-failed'))
})
