/** A store directory with files and links, in it and around it, that no client may change, and the check. */

import { lstat, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkName } from '../../lib/protocol/name.ts'
import { temporaryDirectory } from '../support/directory.ts'

export interface Territory {
  /** The directory of the store. */
  readonly root: string
  /** A folder beside it, which the links of the root lead to. */
  readonly outside: string
  /** Complaints about what is where it should not be. */
  faults(): Promise<string[]>
  /** Names of what clients have put there, without the sessions'. */
  published(): Promise<string[]>
  /** Takes those away. */
  clean(): Promise<void>
}

/** What is planted in the root: folders, files, and links by what they lead to. */
const planted: Record<string, 'folder' | 'file' | { readonly to: string }> = {
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

/** Everything below a directory but the store's root: names, kinds, times, contents. */
async function survey(directory: string, root: string): Promise<string[]> {
  const lines: string[] = []
  for (const name of (await readdir(directory)).sort()) {
    const path = join(directory, name)
    if (path === root) continue
    const found = await lstat(path)
    // A folder's time tells of files that came and went.
    lines.push(
      `${path} ${found.mode} ${found.mtimeMs} ${found.isFile() ? await readFile(path, 'latin1') : ''}`,
    )
    if (found.isDirectory()) lines.push(...(await survey(path, root)))
  }
  return lines
}

export async function territory(): Promise<Territory> {
  const base = await temporaryDirectory()
  const [root, outside] = [join(base, 'up', 'root'), join(base, 'up', 'outside')]
  for (const folder of [root, outside, join(base, 'up', 'root-2'), join(base, 'up', '.bits-sessions')]) {
    await mkdir(folder, { recursive: true })
  }
  for (const file of [join(base, 'sentinel'), join(base, 'up', 'sentinel'), join(outside, 'secret')]) {
    await writeFile(file, 'untouched')
  }
  for (const [name, kind] of Object.entries(planted)) {
    const path = join(root, name)
    if (kind === 'folder') await mkdir(path)
    else if (kind === 'file') await writeFile(path, 'untouched')
    else await symlink(kind.to, path)
  }
  const before = await survey(base, root)

  // Not `recursive`: that follows links, and here they lead in circles.
  const below = async (folder: string): Promise<string[]> => {
    const names: string[] = []
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      const name = folder === '' ? entry.name : `${folder}/${entry.name}`
      if (name === '.bits-sessions') continue
      if (!planted[name]) names.push(name)
      if (entry.isDirectory()) names.push(...(await below(name)))
    }
    return names
  }
  const published = async (): Promise<string[]> => (await below('')).sort()

  return {
    root,
    outside,
    published,

    async faults() {
      const faults: string[] = []
      const after = await survey(base, root)
      if (after.join('\n') !== before.join('\n')) {
        faults.push(`outside of the root: ${after.filter((line) => !before.includes(line)).join(', ')}`)
      }
      for (const [name, kind] of Object.entries(planted)) {
        if (typeof kind === 'object' && (await readlink(join(root, name)).catch(() => '')) !== kind.to) {
          faults.push(`the link ${name} was replaced`)
        }
      }
      if ((await readFile(join(root, 'kept.bin'), 'utf8')) !== 'untouched')
        faults.push('kept.bin was replaced')
      for (const name of await published()) {
        try {
          checkName(name)
        } catch (error) {
          faults.push(`${JSON.stringify(name)}: ${(error as Error).message}`)
        }
        if (!(await lstat(join(root, name))).isFile()) faults.push(`no file: ${JSON.stringify(name)}`)
      }
      for (const name of await readdir(join(root, '.bits-sessions')).catch(() => [])) {
        if (!sessionFile.test(name)) faults.push(`in the sessions' directory: ${JSON.stringify(name)}`)
      }
      return faults
    },

    async clean() {
      for (const name of await published()) await rm(join(root, name), { recursive: true, force: true })
    },
  }
}
