import {
  constants,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join, win32 } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type AppendOptions, type FileStoreOptions, fileStore, type Session } from '../../lib/index.ts'
import { currentBoot, sameBoot } from '../../lib/stores/boot.ts'
import { isWithin } from '../../lib/stores/destination.ts'
import { type FileSystem, nodeFileSystem } from '../../lib/stores/file-system.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { body, complete, listed, loaded, newSession } from '../support/store.ts'

const failing = (code: string): never => {
  throw Object.assign(new Error(`${code}: made by the test`), { code })
}

/** The real file system, but for some calls. */
const withCalls = (calls: Partial<FileSystem>): FileSystem => ({ ...nodeFileSystem, ...calls })

const refusal = (code: string) => expect.objectContaining({ name: 'BitsError', code })

describe('names that only the file system can judge', () => {
  it('makes folders if it is told to, when the file is complete', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { createFolders: true })
    const session = await complete(store, 'abc', { name: 'x/y/a.bin' })
    expect(await readdir(root)).toEqual(['.bits-sessions'])
    await store.publish(session)
    expect(await readFile(join(root, 'x/y/a.bin'), 'utf8')).toBe('abc')
    await store.publish(await complete(store, 'abc', { name: 'x/z/a.bin' }))
    expect((await readdir(join(root, 'x'))).sort()).toEqual(['y', 'z'])
    await expect(store.create(newSession({ name: 'x/y' }))).rejects.toMatchObject({
      code: 'invalid-destination',
    })
  })

  it('makes none outside, none in the place of a file, and none among the sessions', async () => {
    const root = await temporaryDirectory()
    const outside = await temporaryDirectory()
    const store = fileStore(root, { createFolders: true })
    await store.publish(await complete(store, 'abc'))
    await symlink(outside, join(root, 'out'))
    await symlink(join(outside, 'nowhere'), join(root, 'dangling'))
    const cases = {
      'out/x/a.bin': 'invalid-destination',
      'dangling/x/a.bin': 'destination-not-found',
      'a.bin/x/a.bin': 'destination-not-found',
      '.bits-sessions/x/a.bin': 'invalid-destination',
    }
    for (const [name, code] of Object.entries(cases)) {
      await expect(store.create(newSession({ name })), name).rejects.toMatchObject({ code })
    }
    // A way out that was made meanwhile.
    const late = await complete(store, 'abc', { name: 'late/x/a.bin' })
    await symlink(outside, join(root, 'late'))
    await expect(store.publish(late)).rejects.toMatchObject({ code: 'invalid-destination' })
    expect(await readdir(outside)).toEqual([])
  })

  it('takes a folder that is there, and makes none', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    await mkdir(join(root, 'logs'))
    await store.publish(await complete(store, 'abc', { name: 'logs/a.txt' }))
    expect(await readFile(join(root, 'logs/a.txt'), 'utf8')).toBe('abc')
    await expect(store.create(newSession({ name: 'none/a.txt' }))).rejects.toEqual(
      refusal('destination-not-found'),
    )
    await expect(store.create(newSession({ name: 'logs/a.txt/b' }))).rejects.toEqual(
      refusal('destination-not-found'),
    )
    await expect(store.create(newSession({ name: 'logs' }))).rejects.toEqual(refusal('invalid-destination'))
    await expect(store.create(newSession({ name: 'logs', overwrite: true }))).rejects.toEqual(
      refusal('invalid-destination'),
    )
    expect(await readdir(root)).toEqual(['.bits-sessions', 'logs'])
  })

  it('follows no link out of the root', async () => {
    const root = await temporaryDirectory()
    const outside = await temporaryDirectory()
    const store = fileStore(root)
    await symlink(outside, join(root, 'out'))
    await mkdir(join(root, 'real'))
    await symlink(join(root, 'real'), join(root, 'in'))
    await expect(store.create(newSession({ name: 'out/a' }))).rejects.toEqual(refusal('invalid-destination'))
    await expect(store.create(newSession({ name: 'out' }))).rejects.toEqual(refusal('invalid-destination'))
    await store.publish(await complete(store, 'abc', { name: 'in/a' }))
    expect(await readFile(join(root, 'real/a'), 'utf8')).toBe('abc')

    // Planted while the upload ran.
    const late = await complete(store, 'abc', { name: 'real/b' })
    await rename(join(root, 'real'), join(root, 'was-real'))
    await symlink(outside, join(root, 'real'))
    await expect(store.publish(late)).rejects.toEqual(refusal('invalid-destination'))
    expect(await readdir(outside)).toEqual([])
  })

  it('replaces a link to a file, never the file behind it', async () => {
    const root = await temporaryDirectory()
    const outside = await temporaryDirectory()
    const store = fileStore(root)
    await writeFile(join(outside, 'secret'), 'secret')
    await symlink(join(outside, 'secret'), join(root, 'a.bin'))
    await expect(store.create(newSession())).rejects.toEqual(refusal('destination-exists'))
    await store.publish(await complete(store, 'abc', { overwrite: true }))
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('secret')
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('lets nobody into the sessions’ directory, whatever it is called', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { sessionDirectory: join(root, 'Sessions') })
    await complete(store, 'abc', { name: 'first' })
    await symlink(join(root, 'Sessions'), join(root, 'alias'))
    for (const name of ['Sessions', 'Sessions/x', 'alias/x']) {
      await expect(store.create(newSession({ name }))).rejects.toEqual(refusal('invalid-destination'))
    }
    expect((await stat(join(root, 'Sessions'))).mode & 0o777).toBe(0o700)
  })

  it('refuses a name that is too long for this file system', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { fileSystem: withCalls({ lstat: async () => failing('ENAMETOOLONG') }) })
    await expect(store.create(newSession())).rejects.toEqual(refusal('invalid-destination'))
  })
})

describe('what a crash leaves', () => {
  it('is a session, for another store on the same directory', async () => {
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
    ['behind the link', 'fsync', 'receiving'],
    ['before it was remembered', 'write', 'receiving'],
  ] as const)('is published once, though the crash came %s', async (_, call, state) => {
    const root = await temporaryDirectory()
    const session = await complete(fileStore(root), 'abc')
    const crashed = fileStore(root, { fileSystem: withCalls({ [call]: async () => failing('EKILLED') }) })
    await expect(crashed.publish(await loaded(crashed, session.id))).rejects.toThrow('EKILLED')
    const store = fileStore(root)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ state, received: 3 })
    await store.publish(found)
    const published = await loaded(store, session.id)
    expect(published).toMatchObject({ state: 'published', received: 3 })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    await store.remove(published)
    expect(await readdir(join(root, '.bits-sessions'))).toEqual([])
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('is published once, though it was replaced already', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc', { overwrite: true })
    // rename() of two names of one file does nothing.
    await link(join(root, '.bits-sessions', `${session.id}.part`), join(root, 'a.bin'))
    await store.publish(session)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
  })

  it('has no second name left of a part that was about to replace a file', async () => {
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
    expect(await readdir(join(root, '.bits-sessions'))).toEqual([])
  })

  it('is cleared away when it is of no use: torn records, parts without one', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const kept = await complete(store, 'abc')
    const sessions = join(root, '.bits-sessions')
    const { id: torn } = newSession()
    const { id: orphan } = newSession()
    const { id: fresh } = newSession()
    await writeFile(join(sessions, `${torn}.json`), '{"version":1,"sess')
    await writeFile(join(sessions, `${orphan}.part`), 'abc')
    await writeFile(join(sessions, `${orphan}.reply`), 'abc')
    await writeFile(join(sessions, `${fresh}.json`), '')
    await writeFile(join(sessions, `${kept.id}.new`), '{"version":1,"sess')
    await writeFile(join(sessions, 'README'), 'not ours')
    const old = new Date(Date.now() - 3_600_000)
    for (const name of [`${torn}.json`, `${orphan}.part`, `${orphan}.reply`, `${kept.id}.new`]) {
      await utimes(join(sessions, name), old, old)
    }
    expect(await listed(store)).toEqual([kept.id])
    expect((await readdir(sessions)).sort()).toEqual(
      [`${kept.id}.json`, `${kept.id}.part`, `${fresh}.json`, 'README'].sort(),
    )
  })

  it('is cleared away of a published file, too, when its client never closes', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.publish(session)
    const part = join(root, '.bits-sessions', `${session.id}.part`)
    expect((await stat(part)).nlink).toBe(2)
    const old = new Date(Date.now() - 3_600_000)
    await utimes(part, old, old)
    expect(await listed(store)).toEqual([session.id])
    expect(await readdir(join(root, '.bits-sessions'))).toEqual([`${session.id}.json`])
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published', received: 3 })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('is not cleared away while its session goes on: a reply of whatever age', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.keepReply(session, body('a reply'))
    await store.accept(session, { publish: true, reply: 'kept' })
    await store.publish(await loaded(store, session.id))
    const old = new Date(Date.now() - 3_600_000)
    await utimes(join(root, '.bits-sessions', `${session.id}.reply`), old, old)
    expect(await listed(store)).toEqual([session.id])
    expect(await store.loadReply(session)).toMatchObject({ size: 7 })
  })

  it('hides no other session: one record that cannot be read fails the list, behind all others', async () => {
    const root = await temporaryDirectory()
    const ids = [
      await complete(fileStore(root), 'a', { name: 'a' }),
      await complete(fileStore(root), 'b', { name: 'b' }),
    ]
    const [sick, well] = ids.map(({ id }) => id) as [string, string]
    const readFile: FileSystem['readFile'] = async (path, encoding) =>
      path.includes(sick) ? failing('EIO') : nodeFileSystem.readFile(path, encoding)
    const store = fileStore(root, { fileSystem: withCalls({ readFile }) })
    const seen: string[] = []
    const list = async () => {
      for await (const { id } of store.list()) seen.push(id)
    }
    await expect(list()).rejects.toThrow('EIO')
    expect(seen).toEqual([well])
  })

  it('knows no session that is removed while it is asked for', async () => {
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

  it('loses a torn fact only', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = newSession()
    await store.create(session)
    const record = join(root, '.bits-sessions', `${session.id}.json`)
    await writeFile(record, `${await readFile(record, 'utf8')}\n{"tot`)
    expect(await loaded(store, session.id)).toMatchObject({ received: 0 })
    await store.append(await loaded(store, session.id), body('ab'), { total: 5, durable: false })
    expect(await loaded(store, session.id)).toMatchObject({ received: 2, total: 5 })
  })

  it('knows bytes that vanished, and takes the file anew', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.accept(session, { publish: true })
    await rm(join(root, '.bits-sessions', `${session.id}.part`))
    const gone = await loaded(store, session.id)
    expect(gone).toMatchObject({ state: 'gone', received: 0, total: 3 })
    await store.append(gone, body('ab'), { total: 3, durable: false })
    expect(await loaded(store, session.id)).toMatchObject({ state: 'receiving', received: 2 })
  })
})

describe('a loss of power', () => {
  /** Rewrites a session's record as if it stemmed from before the last start of the machine. */
  const reboot = async (root: string, id: string): Promise<void> => {
    const record = join(root, '.bits-sessions', `${id}.json`)
    await writeFile(record, (await readFile(record, 'utf8')).replaceAll(currentBoot(), 'another-boot'))
  }

  it('takes back what was not synced, and goes on behind what was', async () => {
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

  it('takes back nothing that was accepted or published', async () => {
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

  it('what was accepted and is not surely there any more has to come again', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { durability: 'none' })
    const session = await complete(store, 'abc')
    await store.accept(session, { publish: true })
    await reboot(root, session.id)
    const gone = await loaded(store, session.id)
    expect(gone).toMatchObject({ state: 'gone', received: 0, total: 3 })
    await store.append(gone, body('abc'), { total: 3, durable: true })
    expect(await loaded(store, session.id)).toMatchObject({ state: 'receiving', received: 3 })
  })

  it('never writes to a file that stands under its name, though nobody remembers that it was published', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    const write: FileSystem['write'] = async () => failing('EPOWER')
    const crashed = fileStore(root, { fileSystem: withCalls({ write }) })
    await expect(crashed.publish(await loaded(crashed, session.id))).rejects.toThrow('EPOWER')
    await reboot(root, session.id)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ state: 'receiving', received: 3 })
    await store.publish(found)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('tells boots apart', () => {
    expect(sameBoot(currentBoot(), currentBoot())).toBe(true)
    expect(sameBoot('a', 'b')).toBe(false)
    expect(sameBoot('1700000000', '1700000004')).toBe(true)
    expect(sameBoot('1700000000', '1700000006')).toBe(false)
  })

  it('finds nothing that an Ack promised unsynced, and syncs no fragment before the last', async () => {
    const calls: string[] = []
    const counted =
      (name: 'fdatasync' | 'fsync' | 'link') =>
      async (...args: never[]) => {
        calls.push(name)
        return (nodeFileSystem[name] as (...args: never[]) => Promise<void>)(...args)
      }
    const fileSystem = withCalls({
      fdatasync: counted('fdatasync'),
      fsync: counted('fsync'),
      link: counted('link'),
    })
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    // The first makes the directories.
    await store.create(newSession())
    calls.length = 0
    const session = newSession()
    await store.create(session)
    for (let i = 0; i < 10; i += 1) {
      await store.append(await loaded(store, session.id), body('ab'), { total: 22, durable: false })
    }
    expect(calls).toEqual([])
    await store.publish(
      await store.append(await loaded(store, session.id), body('ab'), { total: 22, durable: true }),
    )
    // Bytes, then the name, then the name's directory.
    expect(calls).toEqual(['fdatasync', 'link', 'fsync'])
  })

  /** The syncs of bytes; `dsync` stands for a write that syncs what it writes. */
  function heardSyncs() {
    const calls: string[] = []
    const writesThrough = new Set<number>()
    const fileSystem = withCalls({
      async open(path, flags) {
        const fd = await nodeFileSystem.open(path, flags)
        if (typeof flags === 'number' && flags & constants.O_DSYNC) writesThrough.add(fd)
        return fd
      },
      writev(fd, ...rest) {
        if (writesThrough.has(fd)) calls.push('dsync')
        return nodeFileSystem.writev(fd, ...rest)
      },
      fdatasync(fd) {
        calls.push('fdatasync')
        return nodeFileSystem.fdatasync(fd)
      },
    })
    return { calls, fileSystem }
  }

  /** Those of a file that comes in one fragment, in these batches. */
  async function syncsOf(
    batches: readonly string[],
    options: FileStoreOptions = {},
    appendOptions: Partial<AppendOptions> = {},
  ): Promise<string[]> {
    const { calls, fileSystem } = heardSyncs()
    const store = fileStore(await temporaryDirectory(), { ...options, fileSystem })
    const session = await store.create(newSession())
    const total = batches.join('').length
    await store.append(session, body(...batches), { total, durable: true, ...appendOptions })
    return calls
  }

  it.runIf(process.platform === 'linux')('has the one write of a file sync what it writes', async () => {
    expect(await syncsOf(['a'])).toEqual(['dsync'])
    // Else a client that sends a byte at a time would have each of them synced.
    expect(await syncsOf(['a', 'b', 'c'])).toEqual(['fdatasync'])
    // There is no write.
    expect(await syncsOf([])).toEqual(['fdatasync'])
    // It is not the end, or nothing is promised, or what is promised is noted besides.
    expect(await syncsOf(['a'], {}, { total: 2, durable: false })).toEqual([])
    expect(await syncsOf(['a'], { durability: 'none' })).toEqual([])
    expect(await syncsOf(['a'], { durability: 'fragment' })).toEqual(['fdatasync', 'fdatasync'])
  })

  it.runIf(process.platform === 'linux')(
    'notes the size of a file with its publication, if that follows',
    async () => {
      const root = await temporaryDirectory()
      const store = fileStore(root)
      const facts = async ({ id }: Session): Promise<string[]> => {
        const text = await readFile(join(root, '.bits-sessions', `${id}.json`), 'utf8')
        return text.split('\n').filter(Boolean).slice(2)
      }
      const options = { total: 1, durable: true, publishes: true }
      const whole = await store.append(await store.create(newSession()), body('a'), options)
      expect(await facts(whole)).toEqual([])
      expect(whole.total).toBe(1)
      await store.publish(whole)
      expect(await facts(whole)).toEqual(['{"total":1,"published":true}'])
      // Somebody may have taken the name meanwhile.
      await rename(join(root, 'a.bin'), join(root, 'c.bin'))
      const late = await store.create(newSession())
      const loser = await store
        .append(late, body('b'), options)
        .finally(() => writeFile(join(root, 'a.bin'), 'c'))
      await expect(store.publish(loser)).rejects.toEqual(refusal('destination-exists'))
      expect(await facts(loser)).toEqual(['{"total":1}'])
      // What comes in pieces may be cut.
      const session = await store.create(newSession({ name: 'b.bin' }))
      await store.append(session, body('a', new Error('cut')), { ...options, total: 2 }).catch(() => {})
      expect(await facts(session)).toEqual(['{"total":2}'])
    },
  )

  it('knows the size of a file whose publisher died before it noted that', async () => {
    const root = await temporaryDirectory()
    const options = { total: 3, durable: true, publishes: true }
    const store = fileStore(root)
    const { id } = await store.append(await store.create(newSession()), body('abc'), options)
    await link(join(root, '.bits-sessions', `${id}.part`), join(root, 'a.bin'))
    expect(await loaded(fileStore(root), id)).toMatchObject({ state: 'receiving', received: 3, total: 3 })
  })

  it('makes no part anew of a file that was to be published at once, and no file of a session that is gone', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const options = { total: 3, durable: true, publishes: true }
    const { id } = await store.append(await store.create(newSession()), body('abc'), options)
    const session = await loaded(store, id)
    await rm(join(root, '.bits-sessions', `${id}.part`))
    await expect(store.append(session, body(), options)).rejects.toMatchObject({ code: 'ENOENT' })
    const removed = await store.create(newSession())
    store.release?.(removed)
    const late = await loaded(store, removed.id)
    await store.remove(await loaded(store, removed.id))
    await expect(store.append(late, body('abc'), options)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('syncs what came before the last write', async () => {
    const { calls, fileSystem } = heardSyncs()
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    const session = await store.create(newSession())
    // Nobody knows what of this was synced, and how.
    await store.append(session, body('ab', new Error('cut')), { total: 4, durable: true }).catch(() => {})
    const now = await loaded(store, session.id)
    expect(now.received).toBe(2)
    await store.append(now, body('cd'), { total: 4, durable: true })
    expect(calls).toEqual(['fdatasync'])
  })

  it('syncs what is written through a descriptor that was open before', async () => {
    const { calls, fileSystem } = heardSyncs()
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    const empty = await store.append(await store.create(newSession()), body(), { total: 4, durable: false })
    await store.append(empty, body('abcd'), { total: 4, durable: true })
    expect(calls).toEqual(['fdatasync'])
  })

  it('closes nothing under an append, also behind one that never came to open it', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await store.create(newSession())
    await store.append(session, body(new Error('cut')), { total: 2, durable: true }).catch(() => {})
    const released = async function* () {
      yield* body('a')
      store.release?.(session)
      yield* body('b')
    }
    await store.publish(await store.append(session, released(), { total: 2, durable: true }))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('ab')
  })
})

describe('a disk that fails', () => {
  it('gets less written than asked, and asks for the rest', async () => {
    const root = await temporaryDirectory()
    const writev: FileSystem['writev'] = (fd, [chunk = Buffer.alloc(0)], position) =>
      nodeFileSystem.writev(fd, [chunk.subarray(0, 2)], position)
    const store = fileStore(root, { fileSystem: withCalls({ writev }) })
    await store.publish(await complete(store, 'abcdefghi'))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abcdefghi')
  })

  it.each([
    ['ENOSPC', 'disk-full'],
    ['EDQUOT', 'disk-full'],
    ['EFBIG', 'too-large'],
  ])('says %s in the words of the protocol, and holds what it holds', async (errno, code) => {
    const root = await temporaryDirectory()
    const writev: FileSystem['writev'] = async (fd, chunks, position) =>
      position > 0 ? failing(errno) : nodeFileSystem.writev(fd, chunks, position)
    const store = fileStore(root, { fileSystem: withCalls({ writev }) })
    const session = newSession()
    await store.create(session)
    const append = store.append(await loaded(store, session.id), body('abc', 'def'), {
      total: 6,
      durable: false,
    })
    await expect(append).rejects.toEqual(refusal(code))
    expect(await loaded(store, session.id)).toMatchObject({ received: 3, total: 6 })
  })

  it('believes no decision whose sync failed, though the next one says that all is well', async () => {
    let isSick = false
    let syncs = 0
    const fdatasync: FileSystem['fdatasync'] = async (fd) => {
      syncs += 1
      if (!isSick) return nodeFileSystem.fdatasync(fd)
      isSick = false
      throw Object.assign(new Error('EIO'), { code: 'EIO' })
    }
    const store = fileStore(await temporaryDirectory(), { fileSystem: withCalls({ fdatasync }) })
    const session = await complete(store, 'abc')
    isSick = true
    await expect(store.accept(session, { publish: true })).rejects.toMatchObject({ code: 'EIO' })
    const now = await loaded(store, session.id)
    expect(now).toMatchObject({ state: 'receiving', received: 3, total: 3 })
    syncs = 0
    await store.accept(now, { publish: true })
    expect(syncs).toBe(1)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'accepted', received: 3 })
  })

  it('leaves no record of a session that could not begin', async () => {
    const root = await temporaryDirectory()
    let full = true
    const write: FileSystem['write'] = async (fd, text) =>
      full ? failing('ENOSPC') : nodeFileSystem.write(fd, text)
    const store = fileStore(root, { fileSystem: withCalls({ write }) })
    await expect(store.create(newSession())).rejects.toEqual(refusal('disk-full'))
    expect(await readdir(join(root, '.bits-sessions'))).toEqual([])
    full = false
    await store.create(newSession())
  })

  it('passes on what it has no word for, whole', async () => {
    const root = await temporaryDirectory()
    const open: FileSystem['open'] = async (path, flags) =>
      path.endsWith('.part') ? failing('EMFILE') : nodeFileSystem.open(path, flags)
    const store = fileStore(root, { fileSystem: withCalls({ open }) })
    await expect(complete(store, 'abc')).rejects.toThrow('EMFILE')
    const stat: FileSystem['stat'] = async () => failing('EIO')
    const sick = fileStore(root, { fileSystem: withCalls({ stat }) })
    await expect(sick.load(newSession().id)).rejects.toThrow('EIO')
  })

  it('says so where there are no hard links', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { fileSystem: withCalls({ link: async () => failing('EPERM') }) })
    await expect(store.publish(await complete(store, 'abc'))).rejects.toThrow(/hard links/)
    await store.publish(await complete(store, 'abc', { overwrite: true }))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('refuses to replace a folder that took the name meanwhile', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc', { overwrite: true })
    await mkdir(join(root, 'a.bin'))
    await expect(store.publish(session)).rejects.toEqual(refusal('invalid-destination'))
  })
})

describe('two file systems', () => {
  /** Names ending in .part lie on another device. */
  const across = (name: 'link' | 'rename'): FileSystem['link'] => {
    return async (path, newPath) =>
      path.includes('elsewhere') && !newPath.includes('elsewhere')
        ? failing('EXDEV')
        : nodeFileSystem[name](path, newPath)
  }
  const open = async (more: Partial<FileSystem> = {}) => {
    const root = await temporaryDirectory()
    const sessionDirectory = join(root, 'elsewhere')
    const fileSystem = withCalls({ link: across('link'), rename: across('rename'), ...more })
    return { root, store: fileStore(root, { sessionDirectory, fileSystem }) }
  }

  it.each([false, true])('are crossed by a copy, synced and renamed (overwrite: %s)', async (overwrite) => {
    const { root, store } = await open()
    const session = await complete(store, 'abc', { overwrite })
    await store.publish(session)
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    expect((await readdir(root)).sort()).toEqual(['a.bin', 'elsewhere'])
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
  })

  it('are crossed without replacing what stands there', async () => {
    const { root, store } = await open()
    const session = await complete(store, 'abc')
    await writeFile(join(root, 'a.bin'), 'theirs')
    await expect(store.publish(session)).rejects.toEqual(refusal('destination-exists'))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('theirs')
    expect((await readdir(root)).sort()).toEqual(['a.bin', 'elsewhere'])
  })

  it('are crossed once, though a crash came behind the link', async () => {
    let crash = true
    const unlink: FileSystem['unlink'] = async (path) =>
      crash && path.endsWith('.part') && path.includes('elsewhere')
        ? failing('EKILLED')
        : nodeFileSystem.unlink(path)
    const { root, store } = await open({ unlink })
    const session = await complete(store, 'abc')
    await expect(store.publish(session)).rejects.toThrow('EKILLED')
    crash = false
    await store.publish(await loaded(store, session.id))
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    await store.remove(await loaded(store, session.id))
    expect((await readdir(root)).sort()).toEqual(['a.bin', 'elsewhere'])
    expect(await readdir(join(root, 'elsewhere'))).toEqual([])
  })

  it('leave no copy when a session ends in the middle of one', async () => {
    const copyFile: FileSystem['copyFile'] = async (path, newPath) => {
      await nodeFileSystem.copyFile(path, newPath)
      failing('EIO')
    }
    const { root, store } = await open({ copyFile })
    const session = await complete(store, 'abc')
    await expect(store.publish(session)).rejects.toThrow('EIO')
    await store.remove(await loaded(store, session.id))
    expect(await readdir(root)).toEqual(['elsewhere'])
  })
})

it('knows what lies within a folder, on Windows too', () => {
  expect(isWithin('/a/b', '/a/b')).toBe(true)
  expect(isWithin('/a/b', '/a/b/..c')).toBe(true)
  expect(isWithin('/a/b', '/a/bc')).toBe(false)
  expect(isWithin('/a/b', '/a')).toBe(false)
  expect(isWithin('C:\\in', 'C:\\in\\x', win32)).toBe(true)
  expect(isWithin('C:\\in', 'c:\\IN\\x', win32)).toBe(true)
  expect(isWithin('C:\\in', 'D:\\in\\x', win32)).toBe(false)
  expect(isWithin('C:\\in', 'C:\\', win32)).toBe(false)
})

it('takes no path for none', () => {
  // @ts-expect-error a path is required
  expect(() => fileStore()).toThrow(TypeError)
  expect(() => fileStore('')).toThrow(TypeError)
  for (const sessionDirectory of ['', '/a/b', '/a']) {
    expect(() => fileStore('/a/b', { sessionDirectory })).toThrow(/sessionDirectory/)
  }
  // @ts-expect-error a misspelt option
  expect(() => fileStore('/a', { sessionDirectry: '/b' })).toThrow(/did you mean 'sessionDirectory'/)
})

it('syncs the names of a session again when that failed: without them its bytes are lost', async () => {
  const syncs: boolean[] = []
  let isSick = false
  const fileSystem = withCalls({
    fsync: async (fd) => {
      syncs.push(!isSick)
      if (isSick) failing('EIO')
      await nodeFileSystem.fsync(fd)
    },
  })
  const store = fileStore(await temporaryDirectory(), { durability: 'fragment', fileSystem })
  const session = await store.create(newSession())
  syncs.length = 0
  const fragment = (now: Session) => store.append(now, body('a'), { total: 3, durable: false })
  isSick = true
  await expect(fragment(session)).rejects.toMatchObject({ code: 'EIO' })
  isSick = false
  const again = await fragment(await loaded(store, session.id))
  expect([again.received, syncs]).toEqual([2, [false, true]])
  // Once is enough.
  await fragment(again)
  expect(syncs).toEqual([false, true])
})
