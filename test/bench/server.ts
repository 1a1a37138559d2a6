import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Candidate } from './case.ts'
import { startNginx } from './nginx.ts'
import { end, start } from './process.ts'

/** A running server. */
export interface Server {
  readonly port: number
  readonly pid: number
  /** Collects garbage; nginx has none. */
  collectGarbage(): Promise<void>
  stop(): Promise<void>
}

export interface ServerOptions {
  /** The Node executable. */
  readonly node: string
  /** The directory for a processor profile; undefined: none is written, because profiling takes time. */
  readonly profile: string | undefined
}

export async function startServer(
  { server }: Candidate,
  directory: string,
  { node, profile }: ServerOptions,
): Promise<Server> {
  if (server === 'nginx') return startNginx(directory)
  const program = fileURLToPath(new URL(`./servers/${server.program}.mjs`, import.meta.url))
  const profiling =
    profile === undefined
      ? []
      : [
          '--cpu-prof',
          `--cpu-prof-dir=${profile}`,
          `--cpu-prof-name=${server.program}-${process.hrtime.bigint()}.cpuprofile`,
        ]
  const child = start(0, [node, '--expose-gc', ...profiling, program, directory, ...(server.args ?? [])])
  const lines = createInterface({ input: child.stdout ?? process.stdin })
  const [line] = await Promise.race([once(lines, 'line'), failOnExit(child, server.program)])
  return {
    // `port 8080` of the programs in servers/, or the URL that `serve` prints.
    port: Number(/(?:port |:)(\d+)/.exec(line)?.[1]),
    pid: child.pid ?? 0,
    async collectGarbage() {
      child.kill('SIGUSR2')
      await once(lines, 'line')
    },
    stop: () => end(child, 'SIGTERM'),
  }
}

async function failOnExit(child: ChildProcess, name: string): Promise<never> {
  const [code] = await once(child, 'exit')
  throw new Error(`The server ${name} ended with ${code}`)
}
