import { chmod, chown, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { lockJobFile } from '../../lib/client/job-lock.ts'
import { temporaryDirectory } from '../support/directory.ts'

const soon = (): AbortSignal => AbortSignal.timeout(200)
const folderOf = (directory: string): string => join(directory, `.bits-job-locks-${process.geteuid?.() ?? 0}`)

describe('lockJobFile', () => {
  it('locks each job file for one user at a time, and removes its folder after the last use', async () => {
    const directory = await temporaryDirectory()
    const path = join(directory, 'a.job')
    const lock = await lockJobFile(path, soon())
    await expect(lockJobFile(path, soon())).rejects.toMatchObject({ name: 'TimeoutError' })
    const other = await lockJobFile(join(directory, 'b.job'), soon())
    expect(await readdir(directory)).toEqual([`.bits-job-locks-${process.geteuid?.() ?? 0}`])
    await lock.release()
    await lock.release()
    await (await lockJobFile(path, soon())).release()
    await other.release()
    await vi.waitUntil(async () => (await readdir(directory)).length === 0)
    await (await lockJobFile(path, soon())).release()
  })

  it('rejects if the folder of the job file does not exist', async () => {
    const path = join(await temporaryDirectory(), 'missing', 'a.job')
    await expect(lockJobFile(path, soon())).rejects.toMatchObject({ code: 'ENOENT' })
  })

  // Windows has no modes.
  it.skipIf(process.platform === 'win32')(
    'rejects a folder for the locks to which other users have access',
    async () => {
      const directory = await temporaryDirectory()
      await mkdir(folderOf(directory))
      const expected = `${folderOf(directory)} must be a directory of this user, with mode 0700: remove it`
      const refused = () => expect(lockJobFile(join(directory, 'a.job'), soon())).rejects.toThrow(expected)
      await chmod(folderOf(directory), 0o750)
      await refused()
      await chmod(folderOf(directory), 0o700)
      if (process.geteuid?.() === 0) {
        await chown(folderOf(directory), 65_534, 65_534)
        await refused()
        await chown(folderOf(directory), 0, 0)
      }
      await (await lockJobFile(join(directory, 'a.job'), soon())).release()
    },
  )
})
