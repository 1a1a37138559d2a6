import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'

const run = promisify(execFile)

/** The repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url))

/** What is not of the sources, or too large to be copied. */
const isLeft = (path: string): boolean =>
  /^(?:\.cache|\.git|\.tmp|coverage|dist|incoming|node_modules)(?:$|[/\\])|\.tgz$/.test(path)

/**
 * Makes the tarball that `npm publish` would send, for all tests of a file. It is made in a copy of the sources, because
 * other tests use `dist` meanwhile.
 * @returns what tells its path
 */
export function packed(): () => string {
  let copy = ''
  let name = ''
  beforeAll(async () => {
    copy = await mkdtemp(join(tmpdir(), 'bits-upload-'))
    await cp(root, copy, { recursive: true, filter: (source) => !isLeft(relative(root, source)) })
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'), 'junction')
    await npm(copy, 'pack')
    name = (await readdir(copy)).find((entry) => entry.endsWith('.tgz')) ?? 'npm pack made none'
  }, 180_000)
  afterAll(() => rm(copy, { recursive: true, force: true }))
  return () => join(copy, name)
}

/** The paths in a tarball, without the folder that they all have. */
export async function list(tarball: string): Promise<string[]> {
  const { stdout } = await run('tar', ['-tzf', tarball])
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((path) => path.replace(/^package\//, ''))
}

/** An empty project with these packages, which are names, ranges or tarballs, and these files. */
export async function project(packages: readonly string[], files: Record<string, string>): Promise<string> {
  const directory = await temporaryDirectory()
  await writeFile(join(directory, 'package.json'), '{ "private": true }\n')
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(directory, name, '..'), { recursive: true })
    await writeFile(join(directory, name), text)
  }
  await install(directory, packages)
  return directory
}

export const install = (directory: string, packages: readonly string[]): Promise<unknown> =>
  npm(directory, 'install', '--prefer-offline', '--no-audit', '--no-fund', ...packages)

const npm = (cwd: string, ...args: string[]): Promise<unknown> =>
  run('npm', args, { cwd, shell: process.platform === 'win32' })
