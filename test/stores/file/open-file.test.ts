import { expect, it } from 'vitest'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { SharedDescriptor } from '../../../lib/stores/file/open-file.ts'
import { SessionDirectory } from '../../../lib/stores/file/session-directory.ts'
import { withResolvers } from '../../support/promise.ts'

/** A file, and a log of the descriptors that it opens and closes: 1, 2 and so on. */
function loggedFile(calls: Partial<FileSystem> = {}) {
  const log: string[] = []
  let last = 0
  const fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: async () => {
      last += 1
      log.push(`open ${last}`)
      return last
    },
    close: async (fd) => void log.push(`close ${fd}`),
    ...calls,
  }
  const directory = new SessionDirectory(fileSystem, '/a directory')
  return { log, file: new SharedDescriptor(directory, 'a file', 'part') }
}

const nextTurn = (): Promise<void> => new Promise(setImmediate)

it('Shared descriptor: stays open between uses until it is closed', async () => {
  const { log, file } = loggedFile()
  expect(file.isOpen).toBe(false)
  expect(await file.with('r', async (fd) => fd)).toBe(1)
  expect(await file.with('r', async (fd) => fd)).toBe(1)
  expect([log, file.isOpen]).toEqual([['open 1'], true])
  file.close()
  file.close()
  await nextTurn()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1'], false])
})

it('Shared descriptor: closes the file after the last of two concurrent uses', async () => {
  const { log, file } = loggedFile()
  const [first, second] = [withResolvers<void>(), withResolvers<void>()]
  const uses = [first, second].map(({ promise }) => file.with('r', () => promise))
  await nextTurn()
  file.close()
  first.resolve()
  await uses[0]
  await nextTurn()
  expect(log).toEqual(['open 1'])
  second.resolve()
  await uses[1]
  await nextTurn()
  expect(log).toEqual(['open 1', 'close 1'])
})

it('Shared descriptor: opens once for concurrent uses, and a close meanwhile waits for them', async () => {
  const { log, file } = loggedFile()
  const uses = [file.with('r', async (fd) => fd), file.with('r', async (fd) => fd)]
  file.close()
  expect(await Promise.all(uses)).toEqual([1, 1])
  await nextTurn()
  expect(log).toEqual(['open 1', 'close 1'])
})

it('Shared descriptor: closes the file after a use that starts after close', async () => {
  const { log, file } = loggedFile()
  await file.with('r', async () => {})
  file.close()
  await nextTurn()
  await file.with('r', async () => {})
  await nextTurn()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1', 'open 2', 'close 2'], false])
})

it('Shared descriptor: closes the file when a use fails, and passes on the error', async () => {
  const { log, file } = loggedFile()
  await expect(file.with('r', () => Promise.reject(new Error('failed')))).rejects.toThrow('failed')
  await nextTurn()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1'], false])
})

it('Shared descriptor: opens again after a failed open', async () => {
  const errors = [new Error('too many open files')].values()
  const { log, file } = loggedFile({
    open: async () => {
      const { value } = errors.next()
      if (value) throw value
      return 7
    },
  })
  await expect(file.with('r', async () => {})).rejects.toThrow('too many open files')
  expect(file.isOpen).toBe(false)
  expect(await file.with('r', async (fd) => fd)).toBe(7)
  await nextTurn()
  expect(log).toEqual(['close 7'])
})

it('Shared descriptor: treats a failed close as closed', async () => {
  const { file } = loggedFile({ close: () => Promise.reject(new Error('EIO')) })
  await file.with('r', async () => {})
  file.close()
  await nextTurn()
  expect(file.isOpen).toBe(false)
})
