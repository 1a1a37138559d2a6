import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { expect, it, onTestFinished } from 'vitest'
import { uploadFile } from '../../../lib/client/index.ts'
import { fileStore } from '../../../lib/index.ts'
import { type FileSystem, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { uploadServer } from '../../support/server.ts'

const ForeignError: ErrorConstructor = runInNewContext('Error')

/** The real file system as code in a VM context sees it: its errors are not `instanceof Error`. */
function foreignFileSystem(): FileSystem & { readonly thrown: Set<string> } {
  const thrown = new Set<string>()
  const foreign =
    (call: (...args: unknown[]) => unknown) =>
    (...args: unknown[]): unknown => {
      const result = call(...args)
      if (!(result instanceof Promise)) return result
      return result.catch(({ message, code }: NodeJS.ErrnoException) => {
        thrown.add(String(code))
        throw Object.assign(new ForeignError(message), { code })
      })
    }
  const calls = Object.entries(nodeFileSystem).map(([name, call]) => [
    name,
    typeof call === 'function' ? foreign(call as never) : call,
  ])
  return { ...Object.fromEntries(calls), thrown }
}

// Jest, and the pools vmThreads and vmForks of vitest, run tests in a VM context.
it('fileStore works where the errors of node:fs have another class Error', async () => {
  const { thrown, ...fileSystem } = foreignFileSystem()
  const directory = await temporaryDirectory()
  const { url, upload } = await uploadServer({
    store: fileStore(directory, { fileSystem, createFolders: true }),
  })
  const failures: unknown[] = []
  upload.events.on('failed', ({ error }) => failures.push(error))
  onTestFinished(() => upload.close({ grace: 0 }))
  const send = (name: string) =>
    uploadFile(Buffer.from('hello'), new URL(name, url), { noProgressTimeout: 0 })
  await send('a.txt')
  await send('folder/b.txt')
  await expect(send('a.txt')).rejects.toMatchObject({ code: 'access-denied' })
  expect(failures).toEqual([])
  expect(String(await readFile(join(directory, 'folder/b.txt')))).toBe('hello')
  expect([...thrown]).toContain('ENOENT')
})
