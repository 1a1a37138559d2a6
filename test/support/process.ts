import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const program = fileURLToPath(new URL('server-process.mjs', import.meta.url))

export interface ServerState {
  /** Peak of the resident memory so far, and the resident memory after a garbage collection. Bytes. */
  readonly memory: number
  readonly resident: number
  /** Delay of the event loop's timers since the previous call of `state()`, in milliseconds. */
  readonly delay: { readonly median: number; readonly p99: number }
}

/** An upload server in a child process. */
export interface ServerProcess {
  readonly url: URL
  /** Measures its memory and its event loop. */
  state(): Promise<ServerState>
  /** Kills it at an arbitrary instruction, as a crash does. */
  kill(): Promise<void>
}

/**
 * Starts a server on a directory. `port` is that of an earlier server if its clients must find the new one.
 */
export async function startServer(directory: string, port = '0'): Promise<ServerProcess> {
  const child = fork(program, [directory, port], { execArgv: ['--expose-gc'] })
  onTestFinished(() => kill(child))
  const [listening] = await once(child, 'message')
  return {
    url: new URL(`http://127.0.0.1:${listening}/upload/`),
    async state() {
      child.send('state')
      const [message] = await once(child, 'message')
      return message
    },
    kill: () => kill(child),
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}
