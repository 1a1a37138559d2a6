import { constants, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  type AppendOptions,
  type FileStoreOptions,
  fileStore,
  type Session,
  type Store,
} from '../../../lib/index.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { failing, withCalls } from '../../support/file-system.ts'
import { readJournal } from '../../support/journal.ts'
import { body, complete, loaded, newSession, refusal } from '../../support/store.ts'

describe('fileStore durability', () => {
  it('syncs no fragment before the last, then the bytes, the link and the directory in order', async () => {
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
    // The first session creates the directories.
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
    // The bytes, the link, and the directory of the link.
    expect(calls).toEqual(['fdatasync', 'link', 'fsync'])
  })

  it('syncs the last journal entry when the file was moved, because no link shows that it was published', async () => {
    const calls: string[] = []
    const fileSystem = withCalls({
      link: async () => failing('EPERM'),
      rename: async (...args) => {
        calls.push('rename')
        await nodeFileSystem.rename(...args)
      },
      fsync: async (fd) => {
        calls.push('fsync')
        await nodeFileSystem.fsync(fd)
      },
      fdatasync: async (fd) => {
        calls.push('fdatasync')
        await nodeFileSystem.fdatasync(fd)
      },
    })
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    const session = await complete(store, 'abc', { overwrite: true })
    calls.length = 0
    await store.publish(session)
    expect(calls).toEqual(['rename', 'fsync', 'fdatasync'])
  })

  /** Logs the syncs of files; `dsync` is a write with O_DSYNC. */
  function loggedSyncs() {
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

  /** The syncs of a file that arrives in one fragment with these batches. */
  async function syncsOf(
    batches: readonly string[],
    options: FileStoreOptions = {},
    appendOptions: Partial<AppendOptions> = {},
  ): Promise<string[]> {
    const { calls, fileSystem } = loggedSyncs()
    const store = fileStore(await temporaryDirectory(), { ...options, fileSystem })
    const session = await store.create(newSession())
    const total = batches.join('').length
    await store.append(session, body(...batches), { total, durable: true, ...appendOptions })
    return calls
  }

  it.runIf(process.platform === 'linux')('uses O_DSYNC for a file written by a single write', async () => {
    expect(await syncsOf(['a'])).toEqual(['dsync'])
    // With O_DSYNC each batch would be synced, even one of a single byte.
    expect(await syncsOf(['a', 'b', 'c'])).toEqual(['fdatasync'])
    // Without a write.
    expect(await syncsOf([])).toEqual(['fdatasync'])
    // The file is incomplete; nothing is synced; or the checkpoint needs a sync of its own.
    expect(await syncsOf(['a'], {}, { total: 2, durable: false })).toEqual([])
    expect(await syncsOf(['a'], { durability: 'none' })).toEqual([])
    expect(await syncsOf(['a'], { durability: 'fragment' })).toEqual(['fdatasync', 'fdatasync'])
  })

  it('appends one journal entry for the total, one before and one after the publication', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const entries = async ({ id }: Session): Promise<string[]> =>
      (await readJournal(root, id)).slice(2).map((entry) => Object.keys(entry).join())
    const options = { total: 2, durable: true }
    const session = await store.create(newSession())
    await store.append(session, body('a', new Error('cut off')), options).catch(() => {})
    expect(await entries(session)).toEqual(['total'])
    const complete = await store.append(await loaded(store, session.id), body('b'), options)
    expect(await entries(session)).toEqual(['total'])
    await store.publish(complete)
    expect(await entries(session)).toEqual(['total', 'publishing', 'published'])
    // The name was taken meanwhile.
    const late = await store.create(newSession({ name: 'b.bin' }))
    const other = await store.append(late, body('cd'), options)
    await writeFile(join(root, 'b.bin'), 'taken')
    await expect(store.publish(other)).rejects.toEqual(refusal('destination-exists'))
    expect(await entries(other)).toEqual(['total', 'publishing', 'publishing'])
  })

  it('rejects an append with ENOENT when the part or the session was removed', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const options = { total: 3, durable: true }
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

  it('uses fdatasync when an earlier append wrote bytes', async () => {
    const { calls, fileSystem } = loggedSyncs()
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    const session = await store.create(newSession())
    // These bytes are not synced.
    await store.append(session, body('ab', new Error('cut off')), { total: 4, durable: true }).catch(() => {})
    const now = await loaded(store, session.id)
    expect(now.received).toBe(2)
    await store.append(now, body('cd'), { total: 4, durable: true })
    expect(calls).toEqual(['fdatasync'])
  })

  it('uses fdatasync when the descriptor was opened by an earlier append', async () => {
    const { calls, fileSystem } = loggedSyncs()
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    const empty = await store.append(await store.create(newSession()), body(), { total: 4, durable: false })
    await store.append(empty, body('abcd'), { total: 4, durable: true })
    expect(calls).toEqual(['fdatasync'])
  })

  it('keeps the part open when release is called during an append after a failed one', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await store.create(newSession())
    await store.append(session, body(new Error('cut off')), { total: 2, durable: true }).catch(() => {})
    const released = async function* () {
      yield* body('a')
      store.release?.(session)
      yield* body('b')
    }
    await store.publish(await store.append(session, released(), { total: 2, durable: true }))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('ab')
  })
})

describe('fileStore with a failed sync', () => {
  it('reverts the decision of accept, and syncs again for the next accept', async () => {
    let failsOnce = false
    let syncs = 0
    const fdatasync: FileSystem['fdatasync'] = async (fd) => {
      syncs += 1
      if (!failsOnce) return nodeFileSystem.fdatasync(fd)
      failsOnce = false
      return failing('EIO')
    }
    const store = fileStore(await temporaryDirectory(), { fileSystem: withCalls({ fdatasync }) })
    const session = await complete(store, 'abc')
    failsOnce = true
    await expect(store.accept(session, { publish: true })).rejects.toMatchObject({ code: 'EIO' })
    const now = await loaded(store, session.id)
    expect(now).toMatchObject({ state: 'receiving', received: 3, total: 3 })
    syncs = 0
    await store.accept(now, { publish: true })
    expect(syncs).toBe(1)
    expect(await loaded(store, session.id)).toMatchObject({ state: 'accepted', received: 3 })
  })

  it.each([
    [
      'the decision of accept',
      'file',
      (store: Store, session: Session) => store.accept(session, { publish: true }),
    ],
    [
      'a checkpoint',
      'fragment',
      (store: Store, session: Session) => store.append(session, body('c'), { total: 4, durable: false }),
    ],
  ] as const)(
    'of the journal: refuses the session until %s can be reverted',
    async (_, durability, change) => {
      const root = await temporaryDirectory()
      const session = await complete(fileStore(root), 'ab')
      const broken = { sync: true, write: true }
      const journals = new Set<number>()
      const fileSystem = withCalls({
        open: async (path, flags) => {
          const fd = await nodeFileSystem.open(path, flags)
          if (path.endsWith('.json')) journals.add(fd)
          else journals.delete(fd)
          return fd
        },
        fdatasync: async (fd) =>
          broken.sync && journals.has(fd) ? failing('EIO') : nodeFileSystem.fdatasync(fd),
        write: async (fd, text) =>
          broken.write && text.includes('"reverted"') ? failing('ENOSPC') : nodeFileSystem.write(fd, text),
      })
      const store = fileStore(root, { fileSystem, durability })
      const before = await loaded(store, session.id)
      await expect(change(store, before)).rejects.toMatchObject({ code: 'EIO' })
      await expect(store.load(session.id)).rejects.toMatchObject({ code: 'ENOSPC' })
      Object.assign(broken, { sync: false, write: false })
      for (let loads = 0; loads < 2; loads += 1) {
        expect((await loaded(store, session.id)).state).toBe('receiving')
      }
      // Once: another one would revert a later entry.
      const reverts = (await readJournal(root, session.id)).map(({ reverted }) => reverted)
      expect(reverts).toEqual([undefined, undefined, undefined, undefined, true])
    },
  )

  it('of the data file after the timeout: marks the bytes, and truncates nothing', async () => {
    const root = await temporaryDirectory()
    const timeout = new AbortController()
    const truncated: number[] = []
    let fails = true
    const store = fileStore(root, {
      fileSystem: withCalls({
        fdatasync: async (fd) => {
          if (!fails) return nodeFileSystem.fdatasync(fd)
          fails = false
          timeout.abort()
          return failing('EIO')
        },
        ftruncate: (fd, length) => {
          truncated.push(length)
          return nodeFileSystem.ftruncate(fd, length)
        },
      }),
    })
    const created = await store.create(newSession())
    const options = { total: 2, durable: true, signal: timeout.signal }
    await expect(store.append(created, body('a', 'b'), options)).rejects.toMatchObject({ code: 'EIO' })
    expect(truncated).toEqual([])
    expect(await loaded(store, created.id)).toMatchObject({ state: 'receiving', received: 0 })
  })

  describe.each([
    ['is truncated', [], 'receiving'],
    ['is marked when it cannot be truncated', ['ftruncate'], 'receiving'],
    ['is removed when the disk is full', ['ftruncate', 'write'], 'lost'],
    ['is removed when the mark cannot be synced', ['ftruncate', 'fdatasync of the journal'], 'lost'],
  ] as const)('of the data file', (title, failingCalls, state) => {
    it.each([
      ['in one write', 0],
      ['after another fragment', 100],
    ])(`${title}: %s, no process trusts its bytes`, async (_, first) => {
      const root = await temporaryDirectory()
      const fails = (call: string): boolean => (failingCalls as readonly string[]).includes(call)
      const journals = new Set<number>()
      const withSync = new Set<number>()
      const calls = withCalls({
        open: async (path, flags) => {
          const fd = await nodeFileSystem.open(path, flags)
          for (const set of [journals, withSync]) set.delete(fd)
          if (path.endsWith('.json')) journals.add(fd)
          if (typeof flags === 'number' && flags & constants.O_DSYNC) withSync.add(fd)
          return fd
        },
        writev: async (fd, ...rest) => {
          const count = await nodeFileSystem.writev(fd, ...rest)
          return withSync.has(fd) ? failing('EIO') : count
        },
        fdatasync: async (fd) =>
          journals.has(fd) && !fails('fdatasync of the journal')
            ? nodeFileSystem.fdatasync(fd)
            : failing('EIO'),
        ftruncate: async (...args) =>
          fails('ftruncate') ? failing('EROFS') : nodeFileSystem.ftruncate(...args),
        write: async (...args) => (fails('write') ? failing('ENOSPC') : nodeFileSystem.write(...args)),
      })
      const working = fileStore(root)
      const options = { total: 300, durable: true }
      const begun = body(Buffer.alloc(first, 1))
      const session = await working.append(await working.create(newSession()), begun, {
        total: 300,
        durable: false,
      })
      working.release?.(session)
      const store = fileStore(root, { fileSystem: calls })
      const rest = body(Buffer.alloc(300 - first, 2))
      await expect(store.append(await loaded(store, session.id), rest, options)).rejects.toMatchObject({
        code: 'EIO',
      })
      for (const process of [store, working]) {
        const found = await loaded(process, session.id)
        expect(found).toMatchObject({ received: 0, state })
      }
      const whole = body(Buffer.alloc(300, 3))
      const again = await working.append(await loaded(working, session.id), whole, options)
      expect(again.received).toBe(300)
      await working.publish(again)
      expect((await readFile(join(root, 'a.bin'))).equals(Buffer.alloc(300, 3))).toBe(true)
    })
  })

  it('of the data file: refuses the session while its bytes can be neither discarded nor marked', async () => {
    const root = await temporaryDirectory()
    let isReadOnly = true
    const broken = (call: 'fdatasync' | 'ftruncate' | 'unlink' | 'write') => {
      const working = nodeFileSystem[call] as (...args: unknown[]) => Promise<void>
      return async (...args: unknown[]) => (isReadOnly ? failing('EROFS') : working(...args))
    }
    const working = fileStore(root)
    const session = await working.append(await working.create(newSession()), body('ab'), {
      total: 3,
      durable: false,
    })
    const store = fileStore(root, {
      fileSystem: withCalls({
        fdatasync: broken('fdatasync'),
        ftruncate: broken('ftruncate'),
        unlink: broken('unlink'),
        write: broken('write'),
      }),
    })
    const options = { total: 3, durable: true }
    await expect(store.append(await loaded(store, session.id), body('c'), options)).rejects.toThrow('EROFS')
    await expect(store.load(session.id)).rejects.toThrow('EROFS')
    isReadOnly = false
    expect(await loaded(store, session.id)).toMatchObject({ state: 'lost', received: 0 })
    await store.publish(await store.append(await loaded(store, session.id), body('xyz'), options))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('xyz')
  })

  it('repeats the directory sync with the next append: unsynced names would lose the bytes', async () => {
    const syncs: boolean[] = []
    let fails = false
    const fileSystem = withCalls({
      fsync: async (fd) => {
        syncs.push(!fails)
        if (fails) failing('EIO')
        await nodeFileSystem.fsync(fd)
      },
    })
    const store = fileStore(await temporaryDirectory(), { durability: 'fragment', fileSystem })
    const session = await store.create(newSession())
    syncs.length = 0
    const fragment = (now: Session) => store.append(now, body('a'), { total: 3, durable: false })
    fails = true
    await expect(fragment(session)).rejects.toMatchObject({ code: 'EIO' })
    fails = false
    const again = await fragment(await loaded(store, session.id))
    expect([again.received, syncs]).toEqual([2, [false, true]])
    // A sync that succeeded is not repeated.
    await fragment(again)
    expect(syncs).toEqual([false, true])
  })
})
