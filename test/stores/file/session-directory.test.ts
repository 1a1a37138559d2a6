import fs from 'node:fs'
import { sep } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type FileStatus, type FileSystem, fileStore, type Store } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { SessionDirectory } from '../../../lib/stores/file/session-directory.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { failing, watchedFileSystem, withCalls } from '../../support/file-system.ts'
import { body, loaded, newSession } from '../../support/store.ts'

const onLinux = process.platform === 'linux'

afterEach(() => {
  vi.restoreAllMocks()
})

/** The calls of a machine whose directories lie on a file system of this kind. */
const on = (kind: string): Partial<FileSystem> => ({
  stat: async (path) =>
    path === '/' || path.endsWith('.bits-sessions')
      ? ({ dev: 0xfe03 } as FileStatus) // 254:3.
      : nodeFileSystem.stat(path),
  readFile: async (path, encoding) =>
    path === '/proc/self/mountinfo'
      ? `26 1 254:3 / / rw,relatime - ${kind} /dev/vda3 rw\n`
      : nodeFileSystem.readFile(path, encoding),
})

/** A directory with these calls; heard is how each file is closed. */
function directoryWith(calls: Partial<FileSystem>) {
  const heard: string[] = []
  const fileSystem = withCalls({
    closeSync: (fd) => void heard.push(`${fd} here`),
    close: async (fd) => void heard.push(`${fd} elsewhere`),
    ...calls,
  })
  return { heard, fileSystem, directory: new SessionDirectory(fileSystem, '/') }
}

const soon = (): Promise<void> => new Promise(setImmediate)

/** Closes one file, and waits until it is known whether the next may be closed here. */
async function ask(directory: SessionDirectory): Promise<void> {
  directory.close(1, true)
  await soon()
}

it('Session directory: builds file paths, also at the root of a drive', () => {
  expect(new SessionDirectory(nodeFileSystem, `${sep}a`).pathOf('b', 'json')).toBe(`${sep}a${sep}b.json`)
  expect(new SessionDirectory(nodeFileSystem, sep).pathOf('b', 'json')).toBe(`${sep}b.json`)
})

describe.runIf(onLinux)('Session directory, synchronous close on Linux', () => {
  it.each(['ext2', 'ext3', 'ext4', 'tmpfs'])('is used on %s once the file system is known', async (kind) => {
    const { heard, directory } = directoryWith(on(kind))
    await ask(directory)
    directory.close(2, true)
    directory.close(3, false)
    expect(heard).toEqual(['1 elsewhere', '2 here', '3 elsewhere'])
  })

  it('stops after 10 s while the file system check hangs, and checks only once', async () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(1000)
    const { heard, fileSystem, directory } = directoryWith(on('ext4'))
    await ask(directory)
    now.mockReturnValue(11_000)
    directory.close(2, true)
    const hung = vi.spyOn(fileSystem, 'stat').mockReturnValue(new Promise(() => {}))
    now.mockReturnValue(11_001)
    directory.close(3, true)
    now.mockReturnValue(1e9)
    directory.close(4, true)
    expect(heard).toEqual(['1 elsewhere', '2 here', '3 elsewhere', '4 elsewhere'])
    expect(hung).toHaveBeenCalledTimes(1)
  })

  it('follows a change of the file system type at the next check', async () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(1000)
    const { heard, fileSystem, directory } = directoryWith(on('ext4'))
    await ask(directory)
    Object.assign(fileSystem, on('nfs4'))
    now.mockReturnValue(11_001)
    await ask(directory)
    directory.close(2, true)
    Object.assign(fileSystem, on('tmpfs'))
    now.mockReturnValue(21_002)
    await ask(directory)
    directory.close(3, true)
    expect(heard).toEqual(['1 elsewhere', '1 elsewhere', '2 elsewhere', '1 elsewhere', '3 here'])
  })

  it('closes the descriptor before it returns', async () => {
    const fd = fs.openSync(await temporaryDirectory(), 'r')
    nodeFileSystem.closeSync?.(fd)
    expect(() => fs.fstatSync(fd)).toThrow('EBADF')
  })
})

describe('Session directory, asynchronous close', () => {
  it.each<[string, Partial<FileSystem>]>([
    ['on XFS, where close waits for the end of a snapshot', on('xfs')],
    ['on NFS, where close sends a request to the server', on('nfs4')],
    ['when the file system type is unknown (stat fails with EIO)', { stat: async () => failing('EIO') }],
  ])('is used %s', async (_, calls) => {
    const { heard, directory } = directoryWith(calls)
    await ask(directory)
    directory.close(2, true)
    expect(heard).toEqual(['1 elsewhere', '2 elsewhere'])
  })

  it('is used when a custom fileSystem has no closeSync', async () => {
    const { heard, fileSystem, directory } = directoryWith(on('ext4'))
    delete fileSystem.closeSync
    await ask(directory)
    directory.close(2, true)
    expect(heard).toEqual(['1 elsewhere', '2 elsewhere'])
  })
})

it.each<[string, Partial<FileSystem>]>([
  ['rejects', { close: async () => failing('EIO') }],
  ['throws', { close: () => failing('EIO') }],
])('Session directory: ignores a close that %s', async (_, calls) => {
  const { directory } = directoryWith(calls)
  await ask(directory)
})

it.runIf(onLinux)('Session directory: ignores a synchronous close that throws', async () => {
  const closeSync = vi.fn(() => failing('EIO'))
  const { directory } = directoryWith({ ...on('ext4'), closeSync })
  await ask(directory)
  directory.close(2, true)
  expect(closeSync).toHaveBeenCalledTimes(1)
})

describe.runIf(onLinux)('fileStore on ext4', () => {
  /** Heard is what becomes of files, `close part here` for example. */
  async function heardDirectory() {
    const kinds = new Map<number, string>()
    const heard: string[] = []
    const kindOf = (path: string): string => path.slice(path.lastIndexOf('.') + 1)
    const calls: Partial<FileSystem> = {
      ...on('ext4'),
      async open(path, flags) {
        const fd = await nodeFileSystem.open(path, flags)
        kinds.set(fd, kindOf(path))
        return fd
      },
      closeSync(fd) {
        heard.push(`close ${kinds.get(fd)} here`)
        fs.closeSync(fd)
      },
      close(fd) {
        heard.push(`close ${kinds.get(fd)} elsewhere`)
        return nodeFileSystem.close(fd)
      },
      unlink(path) {
        heard.push(`unlink ${kindOf(path)}`)
        return nodeFileSystem.unlink(path)
      },
    }
    const directory = await temporaryDirectory()
    /** A store that knows on what its directory lies: it has closed a file. */
    async function begin(boot: string): Promise<Store> {
      const fileSystem = withCalls({ ...calls, boot: () => boot })
      const store = fileStore(directory, { fileSystem, durability: 'none' })
      await store.remove(await store.create(newSession({ name: boot })))
      await soon()
      heard.length = 0
      return store
    }
    return { heard, begin }
  }

  async function endsOf(size: number, metadata = {}): Promise<string[]> {
    const { heard, begin } = await heardDirectory()
    const store = await begin('a boot')
    const session = await store.create(newSession({ metadata }))
    const options = { total: size, durable: true, publishes: true }
    const whole = await store.append(session, body('x'.repeat(size)), options)
    await store.publish(whole)
    await store.remove(whole)
    return heard
  }

  it('closes small files synchronously before it unlinks them', async () => {
    expect(await endsOf(64 * 1024)).toEqual([
      'close part here',
      'unlink part',
      'close json here',
      'unlink json',
    ])
  })

  it('closes parts and journals above 64 KiB asynchronously', async () => {
    expect(await endsOf(64 * 1024 + 1)).toContain('close part elsewhere')
    expect(await endsOf(1, { title: 'x'.repeat(64 * 1024) })).toContain('close json elsewhere')
  })

  it('closes a truncated part asynchronously, because it is written back', async () => {
    const { heard, begin } = await heardDirectory()
    const options = { total: 4, durable: false }
    const before = await begin('a boot')
    const session = await before.append(await before.create(newSession()), body('ab'), options)
    before.release?.(session)
    const after = await begin('the next boot')
    after.release?.(await after.append(await loaded(after, session.id), body('ab'), options))
    expect(heard).toContain('close part elsewhere')
  })
})

it('fileStore: closes every file of an upload exactly once', async () => {
  const { fileSystem, open, closed, strays } = watchedFileSystem()
  const calls = { ...fileSystem, ...on('ext4') }
  const store = fileStore(await temporaryDirectory(), { fileSystem: calls, durability: 'none' })
  for (const name of ['a', 'b', 'c']) {
    const session = await store.create(newSession({ name }))
    const whole = await store.append(session, body('x'), { total: 1, durable: true, publishes: true })
    await store.publish(whole)
    await store.remove(whole)
  }
  await vi.waitFor(() => expect(open).toEqual(new Set()))
  expect([closed.length, strays]).toEqual([6, []])
})
