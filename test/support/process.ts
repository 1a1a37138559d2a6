import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const program = fileURLToPath(new URL('server-process.mjs', import.meta.url))

export interface ServerState {
  /** Peak of its resident memory so far, and what it is now, after a garbage collection if it may; bytes. */
  readonly memory: number
  readonly resident: number
  /** By how much the event loop's timers were late since last asked, in milliseconds. */
  readonly delay: { readonly median: number; readonly p99: number }
}

/** A server in a process of its own. */
export interface ServerProcess {
  readonly url: URL
  /** How it is. */
  state(): Promise<ServerState>
  /** Ends it as a crash would: at whatever instruction it is. */
  kill(): Promise<void>
}

/** Starts a server on a directory; on the port of an earlier one, if it is to be found again. */
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
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
