import { link, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore } from '../../../lib/index.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { sessionFileNames, temporaryDirectory } from '../../support/directory.ts'
import { failing, withCalls } from '../../support/file-system.ts'
import { reboot } from '../../support/journal.ts'
import { body, complete, listed, loaded, newSession } from '../../support/store.ts'

describe('fileStore after a crash', () => {
  it('loads the session with another store on the same directory', async () => {
    const root = await temporaryDirectory()
    const first = fileStore(root)
    const session = newSession()
    await first.create(session)
    await first.append(await loaded(first, session.id), body('abc'), { total: 5, durable: false })
    const second = fileStore(root)
    expect(await loaded(second, session.id)).toMatchObject({ ...session, received: 3, total: 5 })
    expect(await listed(second)).toEqual([session.id])
  })

  it.each([
    ['after the link', 'fsync'],
    ['before the journal entry', 'write'],
  ] as const)('publishes on retry after a crash %s', async (_, call) => {
    const root = await temporaryDirectory()
    const session = await complete(fileStore(root), 'abc')
    const crashed = fileStore(root, { fileSystem: withCalls({ [call]: async () => failing('EKILLED') }) })
    await expect(crashed.publish(await loaded(crashed, session.id))).rejects.toThrow('EKILLED')
    const store = fileStore(root)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ state: 'receiving', received: 3, total: 3 })
    await store.publish(found)
    const published = await loaded(store, session.id)
    expect(published).toMatchObject({ state: 'published', received: 3, total: 3 })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    await store.remove(published)
    expect(await sessionFileNames(join(root, '.bits-sessions'))).toEqual([])
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('publishes with overwrite when the destination is already a link to the part', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc', { overwrite: true })
    // rename() does nothing if both paths are links to the same file.
    await link(join(root, '.bits-sessions', `${session.id}.part`), join(root, 'a.bin'))
    await store.publish(session)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
  })

  it('removes the replacement link (.out) that an interrupted overwrite left', async () => {
    const root = await temporaryDirectory()
    const rename: FileSystem['rename'] = async () => failing('EKILLED')
    const unlink: FileSystem['unlink'] = async (path) =>
      path.endsWith('.out') ? failing('EKILLED') : nodeFileSystem.unlink(path)
    const session = await complete(fileStore(root), 'abc', { overwrite: true })
    const other = await complete(fileStore(root), 'xyz', { overwrite: true, name: 'b' })
    for (const { id } of [session, other]) {
      await link(join(root, '.bits-sessions', `${id}.part`), join(root, '.bits-sessions', `${id}.out`))
    }
    const crashed = fileStore(root, { fileSystem: withCalls({ rename, unlink }) })
    await expect(crashed.publish(await loaded(crashed, session.id))).rejects.toThrow('EKILLED')
    const store = fileStore(root)
    await store.publish(await loaded(store, session.id))
    await store.remove(await loaded(store, session.id))
    await store.remove(other)
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    expect(await sessionFileNames(join(root, '.bits-sessions'))).toEqual([])
  })

  it('removes old incomplete journals and orphans on list, and keeps new and unrelated files', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const current = await complete(store, 'abc')
    const sessions = join(root, '.bits-sessions')
    const { id: cutOff } = newSession()
    const { id: orphan } = newSession()
    const { id: fresh } = newSession()
    await writeFile(join(sessions, `${cutOff}.json`), '{"version":1,"sess')
    await writeFile(join(sessions, `${orphan}.part`), 'abc')
    await writeFile(join(sessions, `${orphan}.reply`), 'abc')
    await writeFile(join(sessions, `${fresh}.json`), '')
    await writeFile(join(sessions, `${current.id}.new`), '{"version":1,"sess')
    await writeFile(join(sessions, 'README'), 'another file')
    const old = new Date(Date.now() - 3_600_000)
    for (const name of [`${cutOff}.json`, `${orphan}.part`, `${orphan}.reply`, `${current.id}.new`]) {
      await utimes(join(sessions, name), old, old)
    }
    expect(await listed(store)).toEqual([current.id])
    expect((await readdir(sessions)).sort()).toEqual(
      [`${current.id}.json`, `${current.id}.part`, `${fresh}.json`, 'README'].sort(),
    )
  })

  it('removes an old data file of a published upload on list when the session is never closed', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.publish(session)
    const part = join(root, '.bits-sessions', `${session.id}.part`)
    expect((await stat(part)).nlink).toBe(2)
    const old = new Date(Date.now() - 3_600_000)
    await utimes(part, old, old)
    expect(await listed(store)).toEqual([session.id])
    expect(await sessionFileNames(join(root, '.bits-sessions'))).toEqual([`${session.id}.json`])
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published', received: 3 })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('keeps an old reply on list while its session exists', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.saveReply(session, body('a reply'))
    await store.accept(session, { publish: true, reply: 'stored' })
    await store.publish(await loaded(store, session.id))
    const old = new Date(Date.now() - 3_600_000)
    await utimes(join(root, '.bits-sessions', `${session.id}.reply`), old, old)
    expect(await listed(store)).toEqual([session.id])
    expect(await store.loadReply(session)).toMatchObject({ size: 7 })
  })

  it('lists all readable sessions before list fails for an unreadable journal', async () => {
    const root = await temporaryDirectory()
    const ids = [
      await complete(fileStore(root), 'a', { name: 'a' }),
      await complete(fileStore(root), 'b', { name: 'b' }),
    ]
    const [unreadable, readable] = ids.map(({ id }) => id) as [string, string]
    const readFile: FileSystem['readFile'] = async (path, encoding) =>
      path.includes(unreadable) ? failing('EIO') : nodeFileSystem.readFile(path, encoding)
    const store = fileStore(root, { fileSystem: withCalls({ readFile }) })
    const seen: string[] = []
    const list = async () => {
      for await (const { id } of store.list()) seen.push(id)
    }
    await expect(list()).rejects.toThrow('EIO')
    expect(seen).toEqual([readable])
  })

  it.each([
    [
      'of a newer format',
      async (root: string, id: string) => {
        const path = join(root, '.bits-sessions', `${id}.json`)
        await writeFile(path, (await readFile(path, 'utf8')).replace('"version":1', '"version":2'))
      },
      /format 2/,
    ],
    [
      'with a changed byte',
      async (root: string, id: string) => {
        const path = join(root, '.bits-sessions', `${id}.json`)
        await writeFile(path, (await readFile(path, 'utf8')).replace('{"version"', '{"varsion"'))
      },
      /corrupt/,
    ],
  ])('reports a journal %s, keeps its files, and lists the other sessions', async (_, change, message) => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const [odd, good] = [await complete(store, 'a', { name: 'a' }), await complete(store, 'b', { name: 'b' })]
    const files = ['json', 'part'].map((kind) => join(root, '.bits-sessions', `${odd.id}.${kind}`))
    await change(root, odd.id)
    const old = new Date(Date.now() - 120_000)
    for (const file of files) await utimes(file, old, old)
    await expect(store.load(odd.id)).rejects.toMatchObject({
      code: 'store-failed',
      message: expect.stringMatching(message),
    })
    const ids: string[] = []
    const errors: unknown[] = []
    for await (const { id } of store.list({ onUnreadable: (error) => errors.push(error) })) ids.push(id)
    expect(ids).toEqual([good.id])
    expect(errors).toMatchObject([{ code: 'store-failed' }])
    for (const file of files) await expect(stat(file)).resolves.toBeDefined()
  })

  it('returns undefined from load when the session is removed meanwhile', async () => {
    const root = await temporaryDirectory()
    const session = newSession()
    await fileStore(root).create(session)
    const readFile: FileSystem['readFile'] = async (path, encoding) => {
      const text = await nodeFileSystem.readFile(path, encoding)
      await rm(path)
      return text
    }
    expect(await fileStore(root, { fileSystem: withCalls({ readFile }) }).load(session.id)).toBeUndefined()
  })

  it('ignores a journal entry that was cut off, and continues the session', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = newSession()
    await store.create(session)
    const journal = join(root, '.bits-sessions', `${session.id}.json`)
    await writeFile(journal, `${await readFile(journal, 'utf8')}\n{"tot`)
    expect(await loaded(store, session.id)).toMatchObject({ received: 0 })
    await store.append(await loaded(store, session.id), body('ab'), { total: 5, durable: false })
    expect(await loaded(store, session.id)).toMatchObject({ received: 2, total: 5 })
  })

  it('reports the state lost when the data file is missing, and accepts the bytes again', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.accept(session, { publish: true })
    await rm(join(root, '.bits-sessions', `${session.id}.part`))
    const lost = await loaded(store, session.id)
    expect(lost).toMatchObject({ state: 'lost', received: 0, total: 3 })
    await store.append(lost, body('ab'), { total: 3, durable: false })
    expect(await loaded(store, session.id)).toMatchObject({ state: 'receiving', received: 2 })
  })
})

describe('fileStore after a power loss', () => {
  it('truncates the data file to the last checkpoint, and resumes there', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = newSession({ maxSize: 2 ** 30 })
    await store.create(session)
    const step = 2 ** 24
    let now = await loaded(store, session.id)
    for (let i = 0; i < 5; i += 1) {
      now = await store.append(now, body(Buffer.alloc(step, i + 1)), { total: 6 * step, durable: false })
      now = await loaded(store, session.id)
    }
    expect(now.received).toBe(5 * step)
    await reboot(root, session.id)
    // The fourth append completed 64 MiB.
    now = await loaded(store, session.id)
    expect(now.received).toBe(4 * step)
    await store.append(now, body('tail'), { total: 6 * step, durable: false })
    now = await loaded(store, session.id)
    expect(now.received).toBe(4 * step + 4)
    const part = await readFile(join(root, '.bits-sessions', `${session.id}.part`))
    expect(part.length).toBe(4 * step + 4)
    expect(part.subarray(-5)).toEqual(Buffer.from('\x04tail'))
  })

  it('keeps the bytes of accepted and published sessions', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const accepted = await complete(store, 'abc')
    await store.accept(accepted, { publish: true })
    const published = await complete(store, 'abc', { name: 'b' })
    await store.publish(published)
    await reboot(root, accepted.id)
    await reboot(root, published.id)
    expect(await loaded(store, accepted.id)).toMatchObject({ state: 'accepted', received: 3 })
    expect(await loaded(store, published.id)).toMatchObject({ state: 'published', received: 3 })
  })

  it('requires the bytes of an accepted session again (durability: none)', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { durability: 'none' })
    const session = await complete(store, 'abc')
    await store.accept(session, { publish: true })
    await reboot(root, session.id)
    const lost = await loaded(store, session.id)
    expect(lost).toMatchObject({ state: 'lost', received: 0, total: 3 })
    await store.append(lost, body('abc'), { total: 3, durable: true })
    expect(await loaded(store, session.id)).toMatchObject({ state: 'receiving', received: 3 })
  })

  it('keeps the bytes of a published file when its journal entry was lost', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    const write: FileSystem['write'] = async (fd, text) =>
      text.includes('"published"') ? failing('EPOWER') : nodeFileSystem.write(fd, text)
    const crashed = fileStore(root, { fileSystem: withCalls({ write }) })
    await expect(crashed.publish(await loaded(crashed, session.id))).rejects.toThrow('EPOWER')
    await reboot(root, session.id)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ state: 'receiving', received: 3 })
    await store.publish(found)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })
})
