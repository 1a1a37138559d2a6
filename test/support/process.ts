import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const program = fileURLToPath(new URL('server-process.mjs', import.meta.url))

/** A server in a process of its own. */
export interface ServerProcess {
  readonly url: URL
  /** Peak of its resident memory so far, in bytes. */
  memory(): Promise<number>
  /** Ends it as a crash would: at whatever instruction it is. */
  kill(): Promise<void>
}

/** Starts a server on a directory; on the port of an earlier one, if it is to be found again. */
export async function startServer(directory: string, port = '0'): Promise<ServerProcess> {
  const child = fork(program, [directory, port])
  onTestFinished(() => kill(child))
  const [listening] = await once(child, 'message')
  return {
    url: new URL(`http://127.0.0.1:${listening}/upload/`),
    async memory() {
      child.send('memory')
      for (;;) {
        const [message] = await once(child, 'message')
        if (typeof message.memory === 'number') return message.memory
      }
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
