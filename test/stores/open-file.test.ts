import { expect, it, vi } from 'vitest'
import { type FileSystem, nodeFileSystem } from '../../lib/stores/file-system.ts'
import { OpenFile } from '../../lib/stores/open-file.ts'
import { SessionDirectory } from '../../lib/stores/session-directory.ts'
import { withResolvers } from '../support/promise.ts'

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
  return { log, directory, file: new OpenFile(directory, 'a file', 'part', false) }
}

const soon = (): Promise<void> => new Promise(setImmediate)

it('stays open from one use to the next, until it is let go', async () => {
  const { log, file } = watchedFile()
  expect(file.isOpen).toBe(false)
  expect(await file.use('r', async (fd) => fd)).toBe(1)
  expect(await file.use('r', async (fd) => fd)).toBe(1)
  expect([log, file.isOpen]).toEqual([['open 1'], true])
  file.letGo()
  file.letGo()
  await soon()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1'], false])
})

it('is not closed under a use, nor by the end of another', async () => {
  const { log, file } = watchedFile()
  const [first, second] = [withResolvers<void>(), withResolvers<void>()]
  const uses = [first, second].map(({ promise }) => file.use('r', () => promise))
  await soon()
  file.letGo()
  first.resolve()
  await uses[0]
  await soon()
  expect(log).toEqual(['open 1'])
  second.resolve()
  await uses[1]
  await soon()
  expect(log).toEqual(['open 1', 'close 1'])
})

it('is opened once for two who come while it opens, and let go while it opens', async () => {
  const { log, file } = watchedFile()
  const uses = [file.use('r', async (fd) => fd), file.use('r', async (fd) => fd)]
  file.letGo()
  expect(await Promise.all(uses)).toEqual([1, 1])
  await soon()
  expect(log).toEqual(['open 1', 'close 1'])
})

it('is closed behind a use that comes when it was let go: nobody will do it later', async () => {
  const { log, file } = watchedFile()
  await file.use('r', async () => {})
  file.letGo()
  await soon()
  await file.use('r', async () => {})
  await soon()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1', 'open 2', 'close 2'], false])
})

it('is closed when a use fails, and the error is passed on', async () => {
  const { log, file } = watchedFile()
  await expect(file.use('r', () => Promise.reject(new Error('torn')))).rejects.toThrow('torn')
  await soon()
  expect([log, file.isOpen]).toEqual([['open 1', 'close 1'], false])
})

it('opens anew after it could not be opened', async () => {
  const errors = [new Error('no more descriptors')].values()
  const { log, file } = watchedFile({
    open: async () => {
      const { value } = errors.next()
      if (value) throw value
      return 7
    },
  })
  await expect(file.use('r', async () => {})).rejects.toThrow('no more descriptors')
  expect(file.isOpen).toBe(false)
  expect(await file.use('r', async (fd) => fd)).toBe(7)
  await soon()
  expect(log).toEqual(['close 7'])
})

it('is closed elsewhere behind a use that was late: others may have removed it', async () => {
  const { log, file, directory } = watchedFile()
  vi.spyOn(directory, 'close').mockImplementation((fd, quickly) => {
    log.push(`close ${fd} ${quickly ? 'quickly' : 'as all others'}`)
  })
  const uses = withResolvers<void>()
  file.closesQuickly = true
  const late = file.use('r', () => uses.promise)
  await soon()
  file.letGo()
  uses.resolve()
  await late
  expect(log).toEqual(['open 1', 'close 1 as all others'])
})

it('takes a close that fails for one that is done', async () => {
  const { file } = watchedFile({ close: () => Promise.reject(new Error('the disk is gone')) })
  await file.use('r', async () => {})
  file.letGo()
  await soon()
  expect(file.isOpen).toBe(false)
})
