import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, type AgentOptions } from 'node:http'
import { describe, it, onTestFinished } from 'vitest'
import { temporaryDirectory } from './directory.ts'
import { Output } from './output.ts'

/** New network, PID and mount namespaces, for `sh -c`. The first process ends with its standard input, or with the test. */
const unshare = ['--net', '--pid', '--mount', '--mount-proc', '--fork', '--kill-child', 'sh', '-ec'] as const
const script = 'ip link set lo up; mount --bind "$1" "$2"; echo ready; exec cat'

/** What is missing to run containers; undefined if nothing is. */
function missing(): string | undefined {
  if (process.platform !== 'linux') return 'they need Linux'
  if (process.getuid?.() !== 0) return 'they need root'
  const { status, stderr, error } = spawnSync('unshare', [...unshare, script, '', '/tmp', '/tmp'], {
    input: '',
  })
  if (error || status !== 0) return `unshare, ip or mount failed: ${error?.message ?? String(stderr).trim()}`
  return spawnSync('nsenter', ['--version']).status === 0 ? undefined : 'nsenter is missing'
}

/**
 * Defines a suite that needs containers. Where there can be none the suite is skipped with a warning. With
 * BITS_TEST_SERVERS=required, as in CI, it fails.
 */
export function describeContainers(name: string, suite: () => void): void {
  const reason = missing()
  if (reason === undefined) {
    describe(name, suite)
  } else if (process.env.BITS_TEST_SERVERS === 'required') {
    it(name, () => {
      throw new Error(`Namespaces cannot be created: ${reason}`)
    })
  } else {
    console.warn(`NOT RUN because namespaces cannot be created (${reason}): ${name}`)
    describe.skip(name, suite)
  }
}

/**
 * Network, PID and mount namespaces, as a container has. In it a directory is mounted at another path, and 127.0.0.1 is
 * not that of the test. The file system is otherwise that of the test. Ends with the test.
 */
export class Container {
  /** The path of the directory in the container. */
  readonly directory: string
  readonly #unshare: ChildProcess

  private constructor(child: ChildProcess, directory: string) {
    this.#unshare = child
    this.directory = directory
  }

  /** @param directory exists */
  static async start(directory: string): Promise<Container> {
    const mountPoint = await temporaryDirectory()
    const child = spawn('unshare', [...unshare, script, 'sh', directory, mountPoint])
    const container = new Container(child, mountPoint)
    onTestFinished(() => container.end())
    await new Output(child).says(/^ready$/m)
    return container
  }

  /** Starts a program in the container. The process that is returned waits for that of the program: see {@link signal}. */
  spawn(command: string, args: readonly string[], stdio: StdioOptions): ChildProcess {
    const target = ['--target', String(childOf(this.#unshare)), '--net', '--pid', '--mount']
    return spawn('nsenter', [...target, command, ...args], { stdio })
  }

  /** Kills all processes of the container. */
  async end(): Promise<void> {
    await endProcess(this.#unshare, 'SIGKILL')
  }
}

/** Sends a signal to a program that was started in a container. */
export function signal(child: ChildProcess, name: NodeJS.Signals): void {
  const pid = childOf(child) ?? child.pid
  if (pid !== undefined) process.kill(pid, name)
}

/** Sends a signal to a program that was started in a container, and resolves when it has exited. */
export async function endProcess(child: ChildProcess, name: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  // Not the process of `unshare` or `nsenter`: it would exit before the program.
  signal(child, name)
  await exit
}

/** The process id of the only child of a process; undefined if it has none. */
function childOf({ pid }: ChildProcess): number | undefined {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim()
    return children === '' ? undefined : Number(children)
  } catch {
    return undefined
  }
}

/**
 * Connects to a socket file, by which a server in a container is reached. Keeps its connection: if the server closed it
 * after an answer, a client that still ends its request would get EPIPE, other than with TCP.
 */
export class SocketAgent extends Agent {
  constructor(socketPath: string) {
    const options: AgentOptions & { readonly socketPath: string } = {
      socketPath,
      keepAlive: true,
      maxSockets: 1,
    }
    super(options)
  }
}
