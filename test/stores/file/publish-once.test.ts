import { chmod, copyFile, link, mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fileStore, type Session } from '../../../lib/index.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { sessionFileNames, temporaryDirectory } from '../../support/directory.ts'
import { failing, withCalls } from '../../support/file-system.ts'
import { readJournal, reboot } from '../../support/journal.ts'
import { body, complete, loaded } from '../../support/store.ts'

/** What a consumer does with a published file. */
const consumers = {
  moves: (root: string) => rename(join(root, 'a.bin'), join(root, 'moved')),
  removes: (root: string) => rm(join(root, 'a.bin')),
}

const leavesSessions = (path: string, newPath: string): boolean =>
  path.includes('.bits-sessions') && !newPath.includes('.bits-sessions')

/** File systems on which publishing takes different steps. */
const fileSystems: Record<string, Partial<FileSystem>> = {
  'hard links': {},
  'the sessions on another file system': {
    link: async (path, newPath) =>
      leavesSessions(path, newPath) ? failing('EXDEV') : nodeFileSystem.link(path, newPath),
    rename: async (path, newPath) =>
      leavesSessions(path, newPath) ? failing('EXDEV') : nodeFileSystem.rename(path, newPath),
  },
  'no hard links': { link: async () => failing('EPERM') },
}

type Call = (...args: string[]) => Promise<unknown>

/** A file system whose calls all reject after the process was killed: from the first call for which `isKilled` is true. */
function killed(
  calls: Partial<FileSystem>,
  isKilled: (name: string, ...args: string[]) => boolean | Promise<boolean>,
): FileSystem {
  let isDead = false
  const fileSystem = { ...withCalls(calls) } as unknown as Record<string, Call>
  for (const [name, call] of Object.entries(fileSystem)) {
    if (name === 'boot' || name === 'createReadStream') continue
    fileSystem[name] = async (...args) => {
      isDead ||= await isKilled(name, ...args)
      return isDead ? failing('EKILLED') : call(...args)
    }
  }
  return fileSystem as unknown as FileSystem
}

async function forEachFile(directory: string, change: (path: string) => Promise<void>): Promise<void> {
  for (const name of await readdir(directory)) await change(join(directory, name))
}

/** Gives a file another inode, as `cp -p` and `mv` do. */
async function replaceByCopy(path: string): Promise<void> {
  const { atime, mtime } = await stat(path)
  await copyFile(path, `${path}.copy`)
  await utimes(`${path}.copy`, atime, mtime)
  await rename(`${path}.copy`, path)
}

/** Changes the data file only. */
const onlyData = (change: (path: string) => Promise<void>) => (directory: string) =>
  forEachFile(directory, async (path) => {
    if (path.endsWith('.part')) await change(path)
  })

/** Whether a call is the step by which publishing makes a.bin visible. */
function makesVisible(fileSystem: string, root: string, [call, path = '', newPath = '']: string[]): boolean {
  if ((call !== 'link' && call !== 'rename') || newPath !== join(root, 'a.bin')) return false
  if (fileSystem === 'no hard links') return call === 'rename'
  return fileSystem === 'hard links' || !leavesSessions(path, newPath)
}

const isVisible = (root: string) => stat(join(root, 'a.bin')).then(Boolean, () => false)

/** Uploads the last fragment again and publishes, as the server does when the client repeats it. */
async function repeat(root: string, id: string, calls: Partial<FileSystem>): Promise<Session> {
  const store = fileStore(root, { fileSystem: withCalls(calls) })
  const session = await loaded(store, id)
  expect(session).toMatchObject({ received: 3, total: 3 })
  let isRead = false
  const nothing = async function* () {
    yield* body()
    isRead = true
  }
  await store.publish(await store.append(session, nothing(), { total: 3, durable: true }))
  // A client may not read the Ack before it has sent the whole fragment.
  expect(isRead).toBe(true)
  return loaded(store, id)
}

describe.each(Object.keys(fileSystems))('fileStore.publish with %s', (name) => {
  const calls = fileSystems[name] ?? {}
  const modes = name === 'no hard links' ? [true] : [true, false]

  describe.each(modes)('and overwrite %s', (overwrite) => {
    // Without a link, a copy shows only by its name that it was published.
    const isRecognized = name !== 'the sessions on another file system' || overwrite
    it.runIf(isRecognized).each([
      ['moves', 'fsync'],
      ['moves', 'write'],
      ['removes', 'fsync'],
      ['removes', 'write'],
    ] as const)('publishes once when a consumer %s the file after a kill at %s', async (consumer, call) => {
      const root = await temporaryDirectory()
      const session = await complete(fileStore(root), 'abc', { overwrite })
      const isKilled = (name: string) => name === call && isVisible(root)
      const store = fileStore(root, { fileSystem: killed(calls, isKilled) })
      await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EKILLED')
      await consumers[consumer](root)
      expect(await repeat(root, session.id, calls)).toMatchObject({ state: 'published' })
      const expected = consumer === 'moves' ? ['.bits-sessions', 'moved'] : ['.bits-sessions']
      expect((await readdir(root)).filter((entry) => !entry.startsWith('.{'))).toEqual(expected)
      if (consumer === 'moves') expect(await readFile(join(root, 'moved'), 'utf8')).toBe('abc')
      await fileStore(root).remove(await loaded(fileStore(root), session.id))
      expect(await readdir(root)).toEqual(expected)
      expect(await sessionFileNames(join(root, '.bits-sessions'))).toEqual([])
    })

    it.each([
      ['nothing', async () => {}],
      ['chmod -R', (path: string) => forEachFile(path, (file) => chmod(file, 0o640))],
      ['a backup by hard links', (path: string) => forEachFile(path, (file) => link(file, `${file}.backup`))],
      ['a copy to another disk', (path: string) => forEachFile(path, replaceByCopy)],
      ['touch', (path: string) => forEachFile(path, (file) => utimes(file, new Date(), new Date()))],
      ['touch of the data file', onlyData((file) => utimes(file, new Date(), new Date()))],
      ['cp -p of the data file', onlyData(replaceByCopy)],
    ])('publishes after a kill before the file was visible, and %s', async (_, change) => {
      const root = await temporaryDirectory()
      const session = await complete(fileStore(root), 'abc', { overwrite })
      // Whole milliseconds, so that a copy can have the same.
      await utimes(join(root, '.bits-sessions', `${session.id}.part`), new Date(), new Date())
      const isKilled = (...call: string[]) => makesVisible(name, root, call)
      const store = fileStore(root, { fileSystem: killed(calls, isKilled) })
      await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EKILLED')
      // Longer than a clock tick: before Linux 6.13, times have its resolution.
      await delay(20)
      await change(join(root, '.bits-sessions'))
      expect(await repeat(root, session.id, calls)).toMatchObject({ state: 'published' })
      expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    })

    it('publishes after a second kill at any call of the repeated publication', async () => {
      for (let callsLeft = 0; ; callsLeft += 1) {
        const root = await temporaryDirectory()
        const session = await complete(fileStore(root), 'abc', { overwrite })
        /** Whether the publication succeeds, with a kill at the first call for which `isKilled` is true. */
        const publish = async (isKilled: (...call: string[]) => boolean) => {
          let isPublishing = false
          const fileSystem = killed(calls, (...call) => isPublishing && isKilled(...call))
          const store = fileStore(root, { fileSystem })
          const found = await loaded(store, session.id)
          isPublishing = true
          return store.publish(found).then(
            () => true,
            () => false,
          )
        }
        expect(await publish((...call) => makesVisible(name, root, call))).toBe(false)
        let remaining = callsLeft
        const isDone = await publish(() => {
          remaining -= 1
          return remaining < 0
        })
        const { state } = await loaded(fileStore(root), session.id)
        if (state !== 'published') await repeat(root, session.id, calls)
        expect(await readFile(join(root, 'a.bin'), 'utf8'), `killed after ${callsLeft} calls`).toBe('abc')
        if (isDone) break
      }
    })

    it('does not publish again after a failed directory sync', async () => {
      const root = await temporaryDirectory()
      const session = await complete(fileStore(root), 'abc', { overwrite })
      const fsync: FileSystem['fsync'] = async (fd) =>
        (await isVisible(root)) ? failing('EIO') : nodeFileSystem.fsync(fd)
      const store = fileStore(root, { fileSystem: withCalls({ ...calls, fsync }) })
      await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EIO')
      expect((await readJournal(root, session.id)).at(-1)).toEqual({ publishing: 'done' })
      await rm(join(root, 'a.bin'))
      expect(await repeat(root, session.id, calls)).toMatchObject({ state: 'published' })
      expect((await readdir(root)).filter((entry) => !entry.startsWith('.{'))).toEqual(['.bits-sessions'])
    })
  })
})

describe('fileStore.publish with times of a low resolution', () => {
  const hour = 3_600_000
  const lstat: FileSystem['lstat'] = async (path) => {
    const status = await nodeFileSystem.lstat(path)
    const [mtimeMs, ctimeMs] = [status.mtimeMs, status.ctimeMs].map((time) => time - (time % hour))
    return Object.assign(status, { mtimeMs, ctimeMs })
  }

  it('publishes once when a consumer moves the file after a kill', async () => {
    const root = await temporaryDirectory()
    const session = await complete(fileStore(root), 'abc')
    const store = fileStore(root, { fileSystem: killed({ lstat }, () => isVisible(root)) })
    await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EKILLED')
    await consumers.moves(root)
    await repeat(root, session.id, { lstat })
    expect(await readdir(root)).toEqual(['.bits-sessions', 'moved'])
  })

  it('publishes after a kill before the file was visible, and a backup by hard links', async () => {
    const root = await temporaryDirectory()
    const session = await complete(fileStore(root), 'abc')
    const isKilled = (...call: string[]) => makesVisible('hard links', root, call)
    const store = fileStore(root, { fileSystem: killed({ lstat }, isKilled) })
    await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EKILLED')
    await forEachFile(join(root, '.bits-sessions'), (file) => link(file, `${file}.backup`))
    await repeat(root, session.id, { lstat })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })
})

describe('fileStore.publish to a file system that is not mounted after a kill', () => {
  it('publishes although the copy is missing', async () => {
    const root = await temporaryDirectory()
    const sessionDirectory = join(await temporaryDirectory(), '.bits-sessions')
    const calls = fileSystems['the sessions on another file system'] ?? {}
    const session = await complete(fileStore(root, { sessionDirectory }), 'abc', { overwrite: true })
    const isKilled = (...call: string[]) => makesVisible('the sessions on another file system', root, call)
    const killedStore = fileStore(root, { sessionDirectory, fileSystem: killed(calls, isKilled) })
    const published = killedStore.publish(await loaded(killedStore, session.id))
    await expect(published).rejects.toThrow('EKILLED')
    await rename(root, `${root}-unmounted`)
    onTestFinished(() => rm(`${root}-unmounted`, { recursive: true }))
    await mkdir(root)
    const store = fileStore(root, { sessionDirectory, fileSystem: withCalls(calls) })
    await store.publish(await loaded(store, session.id))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })
})

describe('fileStore after a failed publish', () => {
  it('publishes when the name is free again, although a backup has linked the data file', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    const first = await complete(store, 'xyz')
    await store.publish(first)
    await expect(store.publish(session)).rejects.toMatchObject({ code: 'destination-exists' })
    await link(join(root, '.bits-sessions', `${session.id}.part`), join(root, 'backup'))
    await rm(join(root, 'a.bin'))
    expect(await repeat(root, session.id, {})).toMatchObject({ state: 'published' })
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })
})

describe('fileStore with hard links of a backup', () => {
  const part = (root: string, id: string) => join(root, '.bits-sessions', `${id}.part`)

  it('does not trust unsynced bytes after a power loss', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    const begun = await complete(store, 'abc', { name: 'b.bin' })
    const unfinished = await store.append(begun, body(), { total: 6, durable: false })
    for (const { id } of [session, unfinished]) {
      await link(part(root, id), join(root, `backup-${id}`))
      await reboot(root, id)
      expect(await loaded(store, id)).toMatchObject({ state: 'receiving', received: 0 })
    }
    // A complete file may be a published one that a consumer has moved: the bytes go to a new file.
    await store.append(await loaded(store, session.id), body('xyz'), { total: 3, durable: true })
    expect(await readFile(join(root, `backup-${session.id}`), 'utf8')).toBe('abc')
    await store.publish(await loaded(store, session.id))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('xyz')
  })

  it('keeps an accepted file after a power loss', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.accept(session, { publish: true })
    await link(part(root, session.id), join(root, 'backup'))
    await reboot(root, session.id)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ state: 'accepted', received: 3 })
    await store.publish(found)
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('does not trust the bytes of an interrupted replacement after a power loss', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc', { overwrite: true })
    await link(part(root, session.id), part(root, session.id).replace(/part$/, 'out'))
    await reboot(root, session.id)
    const found = await loaded(store, session.id)
    expect(found).toMatchObject({ state: 'receiving', received: 0 })
    await store.publish(await store.append(found, body('xyz'), { total: 3, durable: true }))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('xyz')
  })
})

describe('fileStore.publish', () => {
  it('publishes once when it is called twice with one session', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc')
    await store.publish(session)
    await rm(join(root, 'a.bin'))
    await store.publish(session)
    expect(await readdir(root)).toEqual(['.bits-sessions'])
  })

  it('succeeds when a consumer has moved the folder of the file after a kill', async () => {
    const root = await temporaryDirectory()
    await mkdir(join(root, 'x'))
    const session = await complete(fileStore(root), 'abc', { name: 'x/a.bin' })
    const isKilled = async (name: string) => name === 'fsync' && (await readdir(join(root, 'x'))).length > 0
    const store = fileStore(root, { fileSystem: killed({}, isKilled) })
    await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EKILLED')
    await rename(join(root, 'x'), join(root, 'y'))
    expect(await repeat(root, session.id, {})).toMatchObject({ state: 'published' })
    expect(await readdir(join(root, 'y'))).toEqual(['a.bin'])
  })

  it('reports a data file that was removed after a kill as lost', async () => {
    const root = await temporaryDirectory()
    const session = await complete(fileStore(root), 'abc')
    const store = fileStore(root, { fileSystem: killed({}, (name) => name === 'link') })
    await expect(store.publish(await loaded(store, session.id))).rejects.toThrow('EKILLED')
    await rm(join(root, '.bits-sessions', `${session.id}.part`))
    expect(await loaded(fileStore(root), session.id)).toMatchObject({ state: 'lost', received: 0 })
  })
})
