import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

/** A process of a farm. */
export interface FarmNode {
  readonly name: string
  readonly port: number
  /** Kills the process, and resolves when it has exited. */
  kill(): Promise<void>
}

/** Starts one of several nodes that share a directory, on any free port. */
export const startSharedNode = (name: string, directory: string): Promise<FarmNode> =>
  forkNode(directory, [name, '127.0.0.1', '0', 'shared'])

/** Starts a node with a directory of its own. It sends its address to clients as BITS-Host-Id. */
export const startNodeWithHostId = (host: string, port: number, directory: string): Promise<FarmNode> =>
  forkNode(directory, [host, host, String(port), 'alone'], { HOST_ID: host })

type Arguments = readonly [name: string, ...others: string[]]

async function forkNode(directory: string, args: Arguments, env: NodeJS.ProcessEnv = {}): Promise<FarmNode> {
  const program = fileURLToPath(new URL('node-program.mjs', import.meta.url))
  const child = fork(program, args, { cwd: directory, env: { ...process.env, ...env } })
  const exit = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exit
  }
  onTestFinished(kill)
  const [listening] = await Promise.race([once(child, 'message'), exit])
  if (!child.connected) throw new Error(`The node exited with ${listening}`)
  return { name: args[0], port: listening, kill }
}
