import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileStore } from '../../../lib/index.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { sessionFileNames, temporaryDirectory } from '../../support/directory.ts'
import { failing, withCalls } from '../../support/file-system.ts'
import { body, complete, loaded, newSession, refusal } from '../../support/store.ts'

describe('fileStore with file system errors', () => {
  it('writes the remaining bytes after a short write', async () => {
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
  ])('maps %s to %s, and keeps the bytes written before', async (errno, code) => {
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

  it('leaves no journal when create fails with disk-full', async () => {
    const root = await temporaryDirectory()
    let full = true
    const write: FileSystem['write'] = async (fd, text) =>
      full ? failing('ENOSPC') : nodeFileSystem.write(fd, text)
    const store = fileStore(root, { fileSystem: withCalls({ write }) })
    await expect(store.create(newSession())).rejects.toEqual(refusal('disk-full'))
    expect(await sessionFileNames(join(root, '.bits-sessions'))).toEqual([])
    full = false
    await store.create(newSession())
  })

  it('passes on other errors unchanged (EMFILE, EIO)', async () => {
    const root = await temporaryDirectory()
    const open: FileSystem['open'] = async (path, flags) =>
      path.endsWith('.part') ? failing('EMFILE') : nodeFileSystem.open(path, flags)
    const store = fileStore(root, { fileSystem: withCalls({ open }) })
    await expect(complete(store, 'abc')).rejects.toThrow('EMFILE')
    const stat: FileSystem['stat'] = async () => failing('EIO')
    const failingStore = fileStore(root, { fileSystem: withCalls({ stat }) })
    await expect(failingStore.load(newSession().id)).rejects.toThrow('EIO')
  })

  it('rejects the first create without overwrite when link fails with EPERM, and publishes with overwrite', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root, { fileSystem: withCalls({ link: async () => failing('EPERM') }) })
    await expect(store.create(newSession())).rejects.toThrow(/hard links.*allow `overwrite`/)
    expect(await sessionFileNames(join(root, '.bits-sessions'))).toEqual([])
    await store.publish(await complete(store, 'abc', { overwrite: true }))
    expect(await readFile(join(root, 'a.bin'), 'utf8')).toBe('abc')
  })

  it('tries hard links once, and again after another error', async () => {
    const root = await temporaryDirectory()
    const links: string[] = []
    const link: FileSystem['link'] = async (path, newPath) => {
      links.push(path)
      return links.length === 1 ? failing('EIO') : nodeFileSystem.link(path, newPath)
    }
    const store = fileStore(root, { fileSystem: withCalls({ link }) })
    await expect(store.create(newSession())).rejects.toThrow('EIO')
    await store.create(newSession())
    await store.create(newSession())
    expect(links).toHaveLength(2)
    expect((await sessionFileNames(join(root, '.bits-sessions'))).map((name) => name.split('.')[1])).toEqual([
      'json',
      'json',
    ])
    expect(await readdir(root)).toEqual(['.bits-sessions'])
  })

  it('tries hard links in the upload directory if the sessions are on another file system', async () => {
    const root = await temporaryDirectory()
    const sessionDirectory = await temporaryDirectory()
    const stat: FileSystem['stat'] = async (path) => {
      const status = await nodeFileSystem.stat(path)
      return path.startsWith(sessionDirectory) ? Object.assign(status, { dev: status.dev + 1 }) : status
    }
    const link: FileSystem['link'] = async (path, newPath) =>
      newPath.startsWith(root) ? failing('EPERM') : nodeFileSystem.link(path, newPath)
    const store = fileStore(root, { sessionDirectory, fileSystem: withCalls({ stat, link }) })
    await expect(store.create(newSession())).rejects.toThrow(/hard links.*allow `overwrite`/)
    expect([await readdir(root), await readdir(sessionDirectory)]).toEqual([[], []])
  })

  it('rejects with invalid-destination when a folder appeared under the name before publish', async () => {
    const root = await temporaryDirectory()
    const store = fileStore(root)
    const session = await complete(store, 'abc', { overwrite: true })
    await mkdir(join(root, 'a.bin'))
    await expect(store.publish(session)).rejects.toEqual(refusal('invalid-destination'))
  })
})

it('fileStore: throws for a missing path, an invalid sessionDirectory and an unknown option', () => {
  // @ts-expect-error the path is missing
  expect(() => fileStore()).toThrow(TypeError)
  expect(() => fileStore('')).toThrow(TypeError)
  for (const sessionDirectory of ['', '/a/b', '/a']) {
    expect(() => fileStore('/a/b', { sessionDirectory })).toThrow(/sessionDirectory/)
  }
  // @ts-expect-error a misspelt option
  expect(() => fileStore('/a', { sessionDirectry: '/b' })).toThrow(/did you mean 'sessionDirectory'/)
})
