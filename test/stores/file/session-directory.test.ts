import { sep } from 'node:path'
import { expect, it, vi } from 'vitest'
import { type FileSystem, fileStore } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { SessionDirectory } from '../../../lib/stores/file/session-directory.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { failing, watchedFileSystem, withCalls } from '../../support/file-system.ts'
import { withResolvers } from '../../support/promise.ts'
import { body, newSession } from '../../support/store.ts'

it('Session directory: builds file paths, also at the root of a drive', () => {
  expect(new SessionDirectory(nodeFileSystem, `${sep}a`).pathOf('b', 'json')).toBe(`${sep}a${sep}b.json`)
  expect(new SessionDirectory(nodeFileSystem, sep).pathOf('b', 'json')).toBe(`${sep}b.json`)
})

it.each<[string, FileSystem['close']]>([
  ['rejects', async () => failing('EIO')],
  ['throws', () => failing('EIO')],
])('Session directory: ignores a close that %s', async (_, close) => {
  new SessionDirectory(withCalls({ close }), '/').close(1)
  // Vitest would report an unhandled rejection.
  await new Promise(setImmediate)
})

it('Session directory: tries once for several uses of a refused session, and no more after a success', async () => {
  const directory = new SessionDirectory(nodeFileSystem, '/')
  const gate = withResolvers<void>()
  const action = vi.fn(() => gate.promise)
  directory.refuseUntil('a', action)
  const uses = [directory.assertNotRefused('a'), directory.assertNotRefused('a')]
  await directory.assertNotRefused('b')
  gate.resolve()
  await Promise.all(uses)
  await directory.assertNotRefused('a')
  expect(action).toHaveBeenCalledTimes(1)
})

it.each(['file', 'fragment', 'none'] as const)(
  'fileStore: closes every file of an upload exactly once (durability: %s)',
  async (durability) => {
    const { fileSystem, open, closed, strays } = watchedFileSystem()
    const store = fileStore(await temporaryDirectory(), { fileSystem, durability })
    // The first session creates the directories, and syncs them.
    await store.remove(await store.create(newSession()))
    await vi.waitFor(() => expect(open).toEqual(new Set()))
    const files: string[] = []
    const { open: openFile } = fileSystem
    fileSystem.open = (path, flags) => {
      files.push(path)
      return openFile(path, flags)
    }
    closed.length = 0
    for (const name of ['a', 'b', 'c']) {
      const session = await store.create(newSession({ name }))
      const complete = await store.append(session, body('x'), { total: 1, durable: true })
      await store.publish(complete)
      await store.remove(complete)
    }
    await vi.waitFor(() => expect(open).toEqual(new Set()))
    expect(files.filter((path) => path.endsWith('.json'))).toHaveLength(3)
    expect(files.filter((path) => path.endsWith('.part'))).toHaveLength(3)
    expect([closed.length, strays]).toEqual([files.length, []])
  },
)
