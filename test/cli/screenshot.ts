/**
 * Makes the picture of README.md from a real run: a shell with `serve` and a shell with `send`, each in a
 * pseudo-terminal, in the middle of a transfer.
 *
 *     npm run build && node --import tsx test/cli/screenshot.ts DIRECTORY FILE.svg [PORT]
 *
 * The pictured paths are those below DIRECTORY, an empty directory. Needs `script` (util-linux) and bash.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, truncate, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import xterm from '@xterm/headless'
import { type Picture, svgOf } from './terminal-svg.ts'

const Columns = 116
const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** An interactive shell in a pseudo-terminal. */
class Shell {
  readonly #child: ChildProcess
  readonly #terminal: xterm.Terminal

  constructor(cwd: string, rows: number, env: NodeJS.ProcessEnv) {
    this.#terminal = new xterm.Terminal({ cols: Columns, rows, allowProposedApi: true })
    const shell = `stty cols ${Columns} rows ${rows}; exec bash --noprofile --rcfile prompt -i`
    this.#child = spawn('script', ['-qfc', shell, '/dev/null'], {
      cwd,
      env: { ...env, TERM: 'xterm-256color' },
    })
    this.#child.stdout?.on('data', (bytes: Buffer) => this.#terminal.write(bytes))
    process.once('exit', () => this.#child.kill('SIGHUP'))
  }

  /** Types a command. */
  type(command: string): void {
    this.#child.stdin?.write(`${command}\n`)
  }

  /** The visible lines. */
  get text(): string {
    const { active } = this.#terminal.buffer
    const lines = Array.from({ length: this.#terminal.rows }, (_, row) =>
      active.getLine(active.viewportY + row)?.translateToString(true),
    )
    return lines.join('\n')
  }

  /** Resolves when the visible lines match. */
  async shows(pattern: RegExp): Promise<void> {
    for (let tries = 0; !pattern.test(this.text); tries++) {
      if (tries === 5000) throw new Error(`The shell does not show ${pattern}:\n${this.text}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  picture(title: string): Picture {
    return { title, terminal: this.#terminal }
  }

  async end(): Promise<void> {
    this.#child.stdin?.end('\x03exit\n')
    await once(this.#child, 'exit')
  }
}

const [directory, picture, port = '8080'] = process.argv.slice(2)
if (!directory || !picture) throw new Error('Usage: screenshot.ts DIRECTORY FILE.svg [PORT]')

const bin = join(directory, 'bin')
await mkdir(bin, { recursive: true })
await writeFile(join(bin, 'express-bits-upload'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`)
await chmod(join(bin, 'express-bits-upload'), 0o755)
const env = {
  ...process.env,
  PATH: `${bin}${delimiter}${process.env.PATH ?? ''}`,
  BITS_UPLOAD_JOBS: join(directory, 'jobs'),
}

/** Creates a file of zeros. */
async function file(name: string, size: number): Promise<void> {
  await writeFile(join(directory as string, name), '')
  await truncate(join(directory as string, name), size)
}
await writeFile(join(directory, 'prompt'), "PS1='$ '\n")
await mkdir(join(directory, 'logs'))
await file('logs/app.log', 45_800_000)
await file('logs/web.log', 8_600_000)
await file('dump.vhdx', 700_000_000)

const server = new Shell(directory, 17, env)
server.type(`express-bits-upload serve incoming --create-folders --port ${port}`)
await server.shows(/Send files to/)
const client = new Shell(directory, 5, env)
client.type(`express-bits-upload send logs dump.vhdx http://localhost:${port}/upload/`)
await client.shows(/dump\.vhdx .* [5-8]\d%/)
const svg = svgOf('A server and a client on the command line', [
  server.picture('the server'),
  client.picture('the client'),
])
await client.shows(/dump\.vhdx: sent/)
await client.end()
await server.end()
await writeFile(picture, svg)
