import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll } from 'vitest'

const run = promisify(execFile)

/** The repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url))

/** The time that packing and installing may take, in milliseconds: it depends on the registry. */
const InstallTimeout = 180_000

/**
 * Packs what `npm publish` would send.
 * @param directory where the tarball is put
 * @returns the tarball's path
 */
export async function pack(directory: string, { rebuild }: { readonly rebuild: boolean }): Promise<string> {
  const destination = ['--pack-destination', directory]
  if (rebuild) {
    // The script `prepack` deletes `dist`, which other tests use: it runs in a copy of the sources.
    const copy = join(directory, 'sources')
    await cp(root, copy, { recursive: true, filter: (source) => isSource(relative(root, source)) })
    await symlink(join(root, 'node_modules'), join(copy, 'node_modules'), 'junction')
    await npm(copy, 'pack', '--ignore-scripts=false', ...destination)
  } else {
    await npm(root, 'pack', '--ignore-scripts', ...destination)
  }
  const name = (await readdir(directory)).find((entry) => entry.endsWith('.tgz'))
  if (!name) throw new Error('npm pack made no tarball')
  return join(directory, name)
}

const isSource = (path: string): boolean =>
  !/^(?:\.cache|\.git|\.tmp|coverage|dist|incoming|node_modules)(?:$|[/\\])|\.tgz$/.test(path)

/** The paths in a tarball, without the folder that they all have. */
export async function list(tarball: string): Promise<string[]> {
  const { stdout } = await run('tar', ['-tzf', tarball])
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((path) => path.replace(/^package\//, ''))
}

/** A project in which packages are installed. */
export class Project {
  readonly directory: string
  #folders = 0

  constructor(directory: string) {
    this.directory = directory
  }

  /** @param packages names, ranges or paths of tarballs */
  async install(packages: readonly string[]): Promise<void> {
    await mkdir(this.directory, { recursive: true })
    await writeFile(join(this.directory, 'package.json'), '{ "private": true }\n', { flag: 'wx' })
    await npm(this.directory, 'install', '--prefer-offline', '--no-audit', '--no-fund', ...packages)
  }

  /** Makes a new folder with these files, from which the project's packages can be imported. */
  async folder(files: Record<string, string> = {}): Promise<string> {
    this.#folders += 1
    const folder = join(this.directory, `test-${this.#folders}`)
    await mkdir(folder)
    for (const [name, text] of Object.entries(files)) {
      const path = join(folder, name)
      await mkdir(dirname(path), { recursive: true })
      await writeFile(path, text)
    }
    return folder
  }
}

/** A directory that is removed after all tests of a file. Its path is known when they run. */
export function sharedDirectory(prepare: (directory: string) => Promise<void>): void {
  let directory = ''
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bits-upload-'))
    await prepare(directory)
  }, InstallTimeout)
  afterAll(() => rm(directory, { recursive: true, force: true }))
}

const npm = (cwd: string, ...args: string[]): Promise<unknown> =>
  run('npm', args, { cwd, shell: process.platform === 'win32' })
