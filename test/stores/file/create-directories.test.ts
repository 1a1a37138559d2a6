import { mkdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createDirectories, nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { temporaryDirectory } from '../../support/directory.ts'

describe('createDirectories', () => {
  it('creates missing parents and returns the first directory that it created', async () => {
    const root = await temporaryDirectory()
    expect(await createDirectories(join(root, 'a/b/c'), { mode: 0o700 })).toBe(join(root, 'a'))
    if (process.platform !== 'win32') expect((await stat(join(root, 'a/b/c'))).mode & 0o777).toBe(0o700)
    expect(await createDirectories(join(root, 'a/d'))).toBe(join(root, 'a/d'))
    for (const path of [join(root, 'a/b'), root, '/', '.'])
      expect(await createDirectories(path)).toBe(undefined)
  })

  it('resolves for each of several concurrent callers', async () => {
    const root = await temporaryDirectory()
    const path = join(root, 'a/b/c/d')
    await Promise.all(Array.from({ length: 20 }, () => createDirectories(path)))
    expect((await stat(path)).isDirectory()).toBe(true)
  })

  // Windows reports other codes.
  it.skipIf(process.platform === 'win32')(
    'rejects where a directory cannot be created, instead of repeating the calls without end',
    async () => {
      const root = await temporaryDirectory()
      await writeFile(join(root, 'file'), '')
      await symlink(join(root, 'nowhere'), join(root, 'link'))
      await mkdir(join(root, 'real'))
      const cases: [path: string, code: string][] = [
        [join(root, 'file'), 'EEXIST'],
        [join(root, 'file/x'), 'ENOTDIR'],
        [join(root, 'link'), 'EEXIST'],
        [join(root, 'link/x'), 'ENOENT'],
      ]
      if (process.platform === 'linux') cases.push(['/proc/foo', 'ENOENT'], ['/proc/foo/bar', 'ENOENT'])
      for (const [path, code] of cases) {
        await expect(createDirectories(path), path).rejects.toMatchObject({ code })
        await expect(nodeFileSystem.mkdir(path, { recursive: true }), path).rejects.toMatchObject({ code })
      }
    },
  )
})
