/**
 * A store directory with files and links in it and beside it that no client may change, and a check that they
 * are unchanged.
 */

import { lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkName } from '../../lib/protocol/name.ts'
import { sessionFileNames, temporaryDirectory } from '../support/directory.ts'

export interface GuardedDirectory {
  /** The directory of the store. */
  readonly root: string
  /** A folder beside it, to which the links of the root point. */
  readonly outside: string
  /** Descriptions of changes that a client must not be able to make. */
  violations(): Promise<string[]>
  /** Names of the files that clients have created, without session files. */
  published(): Promise<string[]>
  /** Removes those files. */
  clean(): Promise<void>
}

/** The initial contents of the root: folders, files, and links with their targets. */
const initial: Record<string, 'folder' | 'file' | { readonly to: string }> = {
  folder: 'folder',
  'folder/deep': 'folder',
  'kept.bin': 'file',
  again: { to: 'folder' },
  'way-out': { to: '../outside' },
  'folder/up': { to: '../..' },
  secret: { to: '../outside/secret' },
  dangling: { to: '../outside/new' },
  hole: { to: '.bits-sessions' },
  loop: { to: 'loop' },
}

const sessionFile = /^\{[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\}\.(?:json|part)$/

/** Lists everything below a directory except the store's root, as text: names, modes, times, contents. */
async function snapshot(directory: string, root: string): Promise<string[]> {
  const lines: string[] = []
  for (const name of (await readdir(directory)).sort()) {
    const path = join(directory, name)
    if (path === root) continue
    const stats = await lstat(path)
    // The modification time of a folder shows files that were created and removed.
    lines.push(
      `${path} ${stats.mode} ${stats.mtimeMs} ${stats.isFile() ? await readFile(path, 'latin1') : ''}`,
    )
    if (stats.isDirectory()) lines.push(...(await snapshot(path, root)))
  }
  return lines
}

export async function guardedDirectory(): Promise<GuardedDirectory> {
  const base = await temporaryDirectory()
  const [root, outside] = [join(base, 'up', 'root'), join(base, 'up', 'outside')]
  for (const folder of [root, outside, join(base, 'up', 'root-2'), join(base, 'up', '.bits-sessions')]) {
    await mkdir(folder, { recursive: true })
  }
  for (const file of [join(base, 'sentinel'), join(base, 'up', 'sentinel'), join(outside, 'secret')]) {
    await writeFile(file, 'untouched')
  }
  for (const [name, kind] of Object.entries(initial)) {
    const path = join(root, name)
    if (kind === 'folder') await mkdir(path)
    else if (kind === 'file') await writeFile(path, 'untouched')
    else await symlink(kind.to, path)
  }
  const before = await snapshot(base, root)

  // Without `recursive`, which follows links, because these links form cycles.
  const filesBelow = async (folder: string): Promise<string[]> => {
    const names: string[] = []
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (name === '.bits-sessions') continue
      if (!initial[name]) names.push(name)
      if (entry.isDirectory()) names.push(...(await filesBelow(name)))
    }
    return names
  }
  const published = async (): Promise<string[]> => (await filesBelow('')).sort()

  return {
    root,
    outside,
    published,

    async violations() {
      const violations: string[] = []
      const after = await snapshot(base, root)
      if (after.join('\n') !== before.join('\n')) {
        violations.push(
          `changed outside the root: ${after.filter((line) => !before.includes(line)).join(', ')}`,
        )
      }
      for (const [name, kind] of Object.entries(initial)) {
        if (typeof kind === 'object' && (await readlink(join(root, name)).catch(() => '')) !== kind.to) {
          violations.push(`the link ${name} was replaced`)
        }
      }
      if ((await readFile(join(root, 'kept.bin'), 'utf8')) !== 'untouched')
        violations.push('kept.bin was replaced')
      for (const name of await published()) {
        try {
          checkName(name)
        } catch (error) {
          violations.push(`${JSON.stringify(name)}: ${(error as Error).message}`)
        }
        if (!(await lstat(join(root, name))).isFile()) violations.push(`not a file: ${JSON.stringify(name)}`)
      }
      for (const name of await sessionFileNames(join(root, '.bits-sessions')).catch(() => [])) {
        if (!sessionFile.test(name)) violations.push(`in the session directory: ${JSON.stringify(name)}`)
      }
      return violations
    },

    async clean() {
      for (const name of await published()) await rm(join(root, name), { recursive: true, force: true })
    },
  }
}
