import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll } from 'vitest'

const run = promisify(execFile)

/** The path of the repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url))

/** Time limit of packing and installing, in milliseconds. The time depends on the registry. */
const InstallTimeoutMs = 180_000

/**
 * Makes the tarball that `npm publish` sends.
 * @param directory in which the tarball is created
 * @returns the tarball's path
 */
export async function pack(directory: string, { rebuild }: { readonly rebuild: boolean }): Promise<string> {
  const destination = ['--pack-destination', directory]
  if (rebuild) {
    // Runs in a copy of the sources, because the script `prepack` deletes `dist`, which other tests use.
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

/** The paths in a tarball, without the folder `package/`. */
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

  /**
   * Copies a folder of the repository that has a package.json, and installs its dependencies, with the tarball in place of
   * the package from the registry.
   * @param folder its path below the repository
   */
  async copy(folder: string, tarball: string): Promise<void> {
    const source = join(root, folder)
    await cp(source, this.directory, {
      recursive: true,
      filter: (path) =>
        !/(?:^|[/\\])(?:\.next|incoming|node_modules|package-lock\.json)(?:$|[/\\])/.test(
          relative(source, path),
        ),
    })
    const path = join(this.directory, 'package.json')
    const manifest = JSON.parse(await readFile(path, 'utf8'))
    manifest.dependencies['express-bits-upload'] = `file:${tarball}`
    await writeFile(path, JSON.stringify(manifest))
    await npm(this.directory, 'install', '--prefer-offline', '--no-audit', '--no-fund')
  }

  /** Creates a folder with these files. They can import the packages of the project. */
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

/** Creates a directory before the tests of a file, passes it to `prepare`, and removes it after the tests. */
export function sharedDirectory(prepare: (directory: string) => Promise<void>): void {
  let directory = ''
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bits-upload-'))
    await prepare(directory)
  }, InstallTimeoutMs)
  afterAll(() => rm(directory, { recursive: true, force: true }))
}

const npm = (cwd: string, ...args: string[]): Promise<unknown> =>
  run('npm', args, { cwd, shell: process.platform === 'win32' })
