import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Contestant } from './case.ts'
import { startNginx } from './nginx.ts'
import { end, start } from './process.ts'

/** A server that listens. */
export interface Server {
  readonly port: number
  readonly pid: number
  /** Collects garbage, where there is such a thing. */
  collect(): Promise<void>
  stop(): Promise<void>
}

export interface ServerOptions {
  /** The Node that it is to run on. */
  readonly node: string
  /** Where its profile of the processor's time goes; undefined: none is made, for that costs time itself. */
  readonly profile: string | undefined
}

export async function startServer(
  { server }: Contestant,
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
  const child = start(0, [node, '--expose-gc', ...profiling, program, directory, ...(server.words ?? [])])
  const lines = createInterface({ input: child.stdout ?? process.stdin })
  const [line] = await Promise.race([once(lines, 'line'), failure(child, server.program)])
  return {
    port: Number(/\d+/.exec(line)?.[0]),
    pid: child.pid ?? 0,
    async collect() {
      child.kill('SIGUSR2')
      await once(lines, 'line')
    },
    stop: () => end(child, 'SIGTERM'),
  }
}

async function failure(child: ChildProcess, name: string): Promise<never> {
  const [code] = await once(child, 'exit')
  throw new Error(`The server ${name} ended with ${code}`)
}
