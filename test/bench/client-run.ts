import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Candidate, Case } from './case.ts'
import { checkFiles } from './check.ts'
import { contents } from './load/contents.ts'
import type { SentFile } from './load/job.ts'
import { end, start } from './process.ts'
import type { RunOptions, RunResult } from './run.ts'
import { temporaryDirectory } from './run-directories.ts'
import { startServer } from './server.ts'

/**
 * The work of the warm-up, as a multiple of that of the measurement: for large files, and for many small ones, where servers run
 * much JavaScript for each, tus above all.
 */
const WarmUp = { large: 1 / 8, small: 2 }

/** What a program in clients/ prints when it exits. */
interface ClientFigures {
  /** Seconds of processor time. */
  readonly cpu: number
  /** Bytes. */
  readonly peak: number
}

/** The files that clients send: those of the warm-up, whose names begin with `w`, and those of the measurement, with `m`. */
export class ClientFiles {
  readonly #case: Case
  #directory = ''
  /** The files of the measurement. */
  readonly measured: SentFile[] = []

  constructor(wanted: Case) {
    this.#case = wanted
  }

  async create(): Promise<void> {
    const { medium, files = 1, size } = this.#case
    this.#directory = await temporaryDirectory(medium)
    const warmUp = files === 1 ? { files, size: size * WarmUp.large } : { files: files * WarmUp.small, size }
    for (let index = 0; index < warmUp.files; index += 1) {
      await this.#write({ name: `w-${index}`, size: warmUp.size, salt: index })
    }
    for (let index = 0; index < files; index += 1) {
      const file = { name: `m-${index}`, size, salt: index }
      await this.#write(file)
      this.measured.push(file)
    }
  }

  /** Creates a directory for the job files of a run. */
  async createWorkDirectory(): Promise<string> {
    const path = join(this.#directory, 'work')
    await mkdir(path)
    return path
  }

  /** The pattern of the files with a prefix. */
  pattern(prefix: 'w' | 'm'): string {
    return join(this.#directory, `${prefix}-*`)
  }

  remove(): Promise<void> {
    return rm(this.#directory, { recursive: true, force: true })
  }

  #write({ name, size, salt }: SentFile): Promise<void> {
    return writeFile(join(this.#directory, name), contents(salt, 0, size))
  }
}

/**
 * Starts a server, sends the files of the warm-up with one process, and measures another process that sends the others: its
 * time from the start to the exit, its processor time and its memory.
 */
export async function runClient(
  { unit, files: count = 1, size }: Case,
  candidate: Candidate,
  files: ClientFiles,
  directory: string,
  options: RunOptions,
): Promise<RunResult> {
  const { client = { program: '', path: '' } } = candidate
  const own = await files.createWorkDirectory()
  const server = await startServer(candidate, directory, options)
  try {
    const url = `http://127.0.0.1:${server.port}${client.path}`
    const send = (prefix: 'w' | 'm') => timeClient([client.program, url, files.pattern(prefix)], own, options)
    await send('w')
    const { seconds, cpu, peak } = await send('m')
    await checkFiles(directory, files.measured)
    const amount = unit === 'MB/s' ? (count * size) / 1e6 : count
    return { value: amount / seconds, cpu: (cpu / amount) * 1000, peak, client: cpu / seconds }
  } finally {
    await server.stop()
    await rm(own, { recursive: true })
  }
}

/** Runs a program to its end. Job files and messages are written to the directory. */
async function timeClient(
  [program = '', ...args]: readonly string[],
  directory: string,
  { profile }: RunOptions,
): Promise<ClientFigures & { readonly seconds: number }> {
  const path = fileURLToPath(new URL(`./clients/${program}.mjs`, import.meta.url))
  const profiling =
    profile === undefined
      ? []
      : [
          '--cpu-prof',
          `--cpu-prof-dir=${profile}`,
          `--cpu-prof-name=client-${program}-${process.hrtime.bigint()}.cpuprofile`,
        ]
  const messages = join(directory, 'messages')
  const stderr = openSync(messages, 'w')
  const startedAt = performance.now()
  const child = start(1, [process.execPath, ...profiling, path, ...args], {
    env: { BITS_UPLOAD_JOBS: join(directory, 'jobs') },
    stderr,
  })
  closeSync(stderr)
  try {
    const output = text(child.stdout ?? process.stdin)
    const [code] = await once(child, 'exit')
    const seconds = (performance.now() - startedAt) / 1000
    if (code !== 0)
      throw new Error(`The client ${program} ended with ${code}: ${await readFile(messages, 'utf8')}`)
    return { ...JSON.parse(await output), seconds }
  } finally {
    await end(child)
  }
}
