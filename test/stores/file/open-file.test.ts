import { expect, it, vi } from 'vitest'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { SharedDescriptor } from '../../../lib/stores/file/open-file.ts'
import { SessionDirectory } from '../../../lib/stores/file/session-directory.ts'
import { withResolvers } from '../../support/promise.ts'

/** A file of which is written down what is opened and closed, by its descriptors, 1, 2 and so on. */
function watchedFile(calls: Partial<FileSystem> = {}) {
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
    closeSync: (fd) => void log.push(`close ${fd} here`),
    ...calls,
  }
  const directory = new SessionDirectory(fileSystem, '/a directory')
  return { log, directory, file: new SharedDescriptor(directory, 'a file', 'part', false) }
}

const soon = (): Promise<void> => new Promise(setImmediate)

it('Shared descriptor: stays open between uses until it is closed', async () => {
  const { log, file } = watchedFile()
  expect(file.isOpen).toBe(false)
  expect(await file.with('r', async (fd) => fd)).toBe(1)
  expect(await file.with('r', async (fd) => fd)).toBe(1)
  expect([log, file.isOpen]).toEqual([['open 1'], true])
  file.close()
  file.close()
  await soon()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1'], false])
})

it('Shared descriptor: closes the file after the last of two concurrent uses', async () => {
  const { log, file } = watchedFile()
  const [first, second] = [withResolvers<void>(), withResolvers<void>()]
  const uses = [first, second].map(({ promise }) => file.with('r', () => promise))
  await soon()
  file.close()
  first.resolve()
  await uses[0]
  await soon()
  expect(log).toEqual(['open 1'])
  second.resolve()
  await uses[1]
  await soon()
  expect(log).toEqual(['open 1', 'close 1'])
})

it('Shared descriptor: opens once for concurrent uses, and a close meanwhile waits for them', async () => {
  const { log, file } = watchedFile()
  const uses = [file.with('r', async (fd) => fd), file.with('r', async (fd) => fd)]
  file.close()
  expect(await Promise.all(uses)).toEqual([1, 1])
  await soon()
  expect(log).toEqual(['open 1', 'close 1'])
})

it('Shared descriptor: closes the file after a use that starts after close', async () => {
  const { log, file } = watchedFile()
  await file.with('r', async () => {})
  file.close()
  await soon()
  await file.with('r', async () => {})
  await soon()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1', 'open 2', 'close 2'], false])
})

it('Shared descriptor: closes the file when a use fails, and passes on the error', async () => {
  const { log, file } = watchedFile()
  await expect(file.with('r', () => Promise.reject(new Error('torn')))).rejects.toThrow('torn')
  await soon()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1'], false])
})

it('Shared descriptor: opens again after a failed open', async () => {
  const errors = [new Error('no more descriptors')].values()
  const { log, file } = watchedFile({
    open: async () => {
      const { value } = errors.next()
      if (value) throw value
      return 7
    },
  })
  await expect(file.with('r', async () => {})).rejects.toThrow('no more descriptors')
  expect(file.isOpen).toBe(false)
  expect(await file.with('r', async (fd) => fd)).toBe(7)
  await soon()
  expect(log).toEqual(['close 7'])
})

it('Shared descriptor: closes asynchronously after a late use, because the file may be removed', async () => {
  const { log, file, directory } = watchedFile()
  vi.spyOn(directory, 'close').mockImplementation((fd, quickly) => {
    log.push(`close ${fd} ${quickly ? 'quickly' : 'as all others'}`)
  })
  const uses = withResolvers<void>()
  file.closesQuickly = true
  const late = file.with('r', () => uses.promise)
  await soon()
  file.close()
  uses.resolve()
  await late
  expect(log).toEqual(['open 1', 'close 1 as all others'])
})

it('Shared descriptor: treats a failed close as closed', async () => {
  const { file } = watchedFile({ close: () => Promise.reject(new Error('the disk is gone')) })
  await file.with('r', async () => {})
  file.close()
  await soon()
  expect(file.isOpen).toBe(false)
})
