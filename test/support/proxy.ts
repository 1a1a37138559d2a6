import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import { temporaryDirectory } from './directory.ts'
import { freePort } from './port.ts'
import { environment, Program } from './program.ts'

/** The directory below which `.ci/proxies` unpacks proxies. */
const cache = fileURLToPath(new URL('../../.cache', import.meta.url))

/** A running proxy. */
export interface RunningProxy {
  /** `http://127.0.0.1:port/` */
  readonly url: URL
  readonly program: Program
}

export interface Launch {
  /** The configuration for a port of 127.0.0.1 to listen on, with files in a directory. */
  readonly configuration: (port: number, directory: string) => string
  readonly args: (file: string, directory: string) => readonly string[]
  readonly env?: (directory: string) => NodeJS.ProcessEnv
  /** What the proxy prints when it listens. */
  readonly ready: RegExp
}

/** A proxy: the program in PATH, or else the one that `.ci/proxies` unpacked. */
export class ProxyServer {
  readonly name: string
  /** The directory to which it is unpacked. */
  readonly unpacked: string
  readonly #command: string | undefined
  readonly #libraries: readonly string[]

  /**
   * @param name as `.ci/proxies` calls it
   * @param binary its path below the directory to which it is unpacked
   * @param versionOption with which it prints its version and exits with 0
   */
  constructor(name: string, binary: string, versionOption: string) {
    this.name = name
    this.unpacked = join(cache, name)
    const libraries = join(this.unpacked, 'usr/lib')
    this.#libraries = existsSync(libraries)
      ? readdirSync(libraries).flatMap((folder) =>
          folder.endsWith('-linux-gnu') ? [join(libraries, folder)] : [],
        )
      : []
    this.#command = [name, join(this.unpacked, binary)].find(
      (command) => spawnSync(command, [versionOption], { env: this.#environment(command) }).status === 0,
    )
  }

  /** Whether it is the one that `.ci/proxies` unpacked. */
  get isUnpacked(): boolean {
    return this.#command !== undefined && this.#command !== this.name
  }

  /**
   * Defines a suite that needs the proxy. Without the proxy the suite is skipped with a warning. With
   * BITS_TEST_SERVERS=required, as in CI, it fails.
   */
  describe(title: string, suite: () => void): void {
    if (this.#command !== undefined) {
      describe(title, suite)
    } else if (process.env.BITS_TEST_SERVERS === 'required') {
      it(title, () => void this.#installed())
    } else {
      console.warn(`NOT RUN because ${this.name} is missing (.ci/proxies downloads it): ${title}`)
      describe.skip(title, suite)
    }
  }

  /** Starts the proxy on a free port of the loopback interface; it is killed after the test. */
  async start({ configuration, args, env, ready }: Launch): Promise<RunningProxy> {
    const command = this.#installed()
    const directory = await temporaryDirectory()
    const file = join(directory, 'proxy.conf')
    // Only the output shows that the proxy listens: another process may have taken the port, and accept
    // connections.
    const outcome = new RegExp(`(?<ready>${ready.source})|address already in use`, 'i')
    for (;;) {
      const port = await freePort()
      await writeFile(file, configuration(port, directory))
      const program = new Program([command, ...args(file, directory)], {
        cwd: directory,
        env: { ...this.#environment(command), ...env?.(directory) },
      })
      const { groups } = await program.says(outcome)
      if (groups?.ready !== undefined) return { url: new URL(`http://127.0.0.1:${port}/`), program }
      await program.end('SIGKILL')
    }
  }

  #installed(): string {
    if (this.#command === undefined) throw new Error(`${this.name} is missing; .ci/proxies downloads it`)
    return this.#command
  }

  #environment(command: string): NodeJS.ProcessEnv {
    const own = command === this.name ? [] : this.#libraries
    return { ...environment(), ...(own.length > 0 && { LD_LIBRARY_PATH: own.join(':') }) }
  }
}
