import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

/** A process of a farm. */
export interface FarmNode {
  readonly name: string
  readonly port: number
  /** Ends it at whatever instruction it is; resolves when it is gone. */
  kill(): Promise<void>
}

/** One of several on a directory, at any free port. */
export const sharingNode = (name: string, directory: string): Promise<FarmNode> =>
  startNode(directory, [name, '127.0.0.1', '0', 'shared'])

/** One that has its directory to itself, at an address and port, and asks its clients to come there. */
export const loneNode = (host: string, port: number, directory: string): Promise<FarmNode> =>
  startNode(directory, [host, host, String(port), 'alone'], { HOST_ID: host })

type Arguments = readonly [name: string, ...others: string[]]

async function startNode(directory: string, args: Arguments, env: NodeJS.ProcessEnv = {}): Promise<FarmNode> {
  const program = fileURLToPath(new URL('node-program.mjs', import.meta.url))
  const child = fork(program, args, { cwd: directory, env: { ...process.env, ...env } })
  const gone = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await gone
  }
  onTestFinished(kill)
  const [listening] = await Promise.race([once(child, 'message'), gone])
  if (!child.connected) throw new Error(`The node ended: ${listening}`)
  return { name: args[0], port: listening, kill }
}
