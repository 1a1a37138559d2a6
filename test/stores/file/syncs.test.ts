import { constants, link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type AppendOptions, type FileStoreOptions, fileStore, type Session } from '../../../lib/index.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { failing, withCalls } from '../../support/file-system.ts'
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

  it.runIf(process.platform === 'linux')('uses O_DSYNC for a file written by a single write', async () => {
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
    'appends total and published as one journal entry when publication follows',
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

  it('recovers the total of a linked file when the process died before the journal entry', async () => {
    const root = await temporaryDirectory()
    const options = { total: 3, durable: true, publishes: true }
    const store = fileStore(root)
    const { id } = await store.append(await store.create(newSession()), body('abc'), options)
    await link(join(root, '.bits-sessions', `${id}.part`), join(root, 'a.bin'))
    expect(await loaded(fileStore(root), id)).toMatchObject({ state: 'receiving', received: 3, total: 3 })
  })

  it('rejects an append with ENOENT when the part or the session was removed', async () => {
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

  it('uses fdatasync when an earlier append wrote bytes', async () => {
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

  it('uses fdatasync when the descriptor was opened by an earlier append', async () => {
    const { calls, fileSystem } = heardSyncs()
    const store = fileStore(await temporaryDirectory(), { fileSystem })
    const empty = await store.append(await store.create(newSession()), body(), { total: 4, durable: false })
    await store.append(empty, body('abcd'), { total: 4, durable: true })
    expect(calls).toEqual(['fdatasync'])
  })

  it('keeps the part open when release is called during an append after a failed one', async () => {
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

describe('fileStore with a failed sync', () => {
  it('reverts the decision of accept, and syncs again for the next accept', async () => {
    let isSick = false
    let syncs = 0
    const fdatasync: FileSystem['fdatasync'] = async (fd) => {
      syncs += 1
      if (!isSick) return nodeFileSystem.fdatasync(fd)
      isSick = false
      return failing('EIO')
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

  it('repeats the directory sync with the next append: unsynced names would lose the bytes', async () => {
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
})
