import { mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises'
import { join, win32 } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore } from '../../../lib/index.ts'
import { isWithin } from '../../../lib/stores/file/destination.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { failing, withCalls } from '../../support/file-system.ts'
import { complete, loaded, newSession, refusal } from '../../support/store.ts'

describe('fileStore destination', () => {
  it('creates missing folders on publish when createFolders is on', async () => {
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

  it('creates no folder outside the root, below a file, or in the session directory', async () => {
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
    // A link out of the root that was created meanwhile.
    const late = await complete(store, 'abc', { name: 'late/x/a.bin' })
    await symlink(outside, join(root, 'late'))
    await expect(store.publish(late)).rejects.toMatchObject({ code: 'invalid-destination' })
    expect(await readdir(outside)).toEqual([])
  })

  it('accepts an existing folder, and creates none when createFolders is off', async () => {
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

  it('follows symbolic links within the root, and rejects those that lead out of it', async () => {
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

    // A link that was created during the upload.
    const late = await complete(store, 'abc', { name: 'real/b' })
    await rename(join(root, 'real'), join(root, 'was-real'))
    await symlink(outside, join(root, 'real'))
    await expect(store.publish(late)).rejects.toEqual(refusal('invalid-destination'))
    expect(await readdir(outside)).toEqual([])
  })

  it('replaces a symbolic link when overwrite is on, and never its target', async () => {
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

  it('rejects names in a custom session directory, also through a link', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { sessionDirectory: join(root, 'Sessions') })
    await complete(store, 'abc', { name: 'first' })
    await symlink(join(root, 'Sessions'), join(root, 'alias'))
    for (const name of ['Sessions', 'Sessions/x', 'alias/x']) {
      await expect(store.create(newSession({ name }))).rejects.toEqual(refusal('invalid-destination'))
    }
    if (process.platform !== 'win32') expect((await stat(join(root, 'Sessions'))).mode & 0o777).toBe(0o700)
  })

  it('rejects a name with invalid-destination when it is too long for the file system', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { fileSystem: withCalls({ lstat: async () => failing('ENAMETOOLONG') }) })
    await expect(store.create(newSession())).rejects.toEqual(refusal('invalid-destination'))
  })
})

describe('fileStore publish across file systems', () => {
  /** A call that fails between the session directory and the root, as on two file systems. */
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

  it.each([false, true])('copies the file, leaves no temporary file (overwrite: %s)', async (overwrite) => {
    const { root, store } = await open()
    const session = await complete(store, 'abc', { overwrite })
    await store.publish(session)
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
    expect((await readdir(root)).sort()).toEqual(['a.bin', 'elsewhere'])
    expect(await loaded(store, session.id)).toMatchObject({ state: 'published' })
  })

  it('rejects with destination-exists when the file exists and overwrite is off', async () => {
    const { root, store } = await open()
    const session = await complete(store, 'abc')
    await writeFile(join(root, 'a.bin'), 'existing')
    await expect(store.publish(session)).rejects.toEqual(refusal('destination-exists'))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('existing')
    expect((await readdir(root)).sort()).toEqual(['a.bin', 'elsewhere'])
  })

  it('completes on retry after a crash before the part was unlinked', async () => {
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

  it('leaves no partial copy when the session is removed after a failed copy', async () => {
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

it('isWithin: recognizes paths within a folder, by POSIX and by Windows rules', () => {
  expect(isWithin('/a/b', '/a/b')).toBe(true)
  expect(isWithin('/a/b', '/a/b/..c')).toBe(true)
  expect(isWithin('/a/b', '/a/bc')).toBe(false)
  expect(isWithin('/a/b', '/a')).toBe(false)
  expect(isWithin('C:\\in', 'C:\\in\\x', win32)).toBe(true)
  expect(isWithin('C:\\in', 'c:\\IN\\x', win32)).toBe(true)
  expect(isWithin('C:\\in', 'D:\\in\\x', win32)).toBe(false)
  expect(isWithin('C:\\in', 'C:\\', win32)).toBe(false)
})
