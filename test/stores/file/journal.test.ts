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
    for (const bit of [1, 2, 4, 8, 0x20, 0x80]) {
      const changed = Buffer.from(journal)
      changed.writeUInt8(changed.readUInt8(at) ^ bit, at)
      await writeFile(path, changed)
      let found: Session | undefined
      try {
        found = await store.load(created.id)
      } catch (error) {
        expect(error).toEqual(refusal('store-failed'))
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
  expect(readCheckedLine(line)).toMatchObject({ synced: 12 })
  for (let length = 0; length < line.length; length += 1) {
    const beginning = line.slice(0, length)
    // A space and eight digits, which look like a checksum, are not enough for the beginning of another value.
    if (!/ [0-9a-f]{8}$/.test(beginning)) expect(readCheckedLine(beginning), beginning).toBeUndefined()
  }
  for (let at = 0; at < line.length; at += 1) {
    const changed = `${line.slice(0, at)}${String.fromCharCode(line.charCodeAt(at) ^ 2)}${line.slice(at + 1)}`
    expect(() => readCheckedLine(changed), changed).toThrow(/corrupt/)
  }
})
