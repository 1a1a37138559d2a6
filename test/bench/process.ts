import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** Environment variables of all servers. */
const environment = {
  NODE_ENV: 'production',
  // Without these, glibc returns memory to the system and requests it again, which costs up to 1.6 times the
  // time.
  MALLOC_TRIM_THRESHOLD_: '1073741824',
  MALLOC_TOP_PAD_: '16777216',
  MALLOC_MMAP_THRESHOLD_: '1073741824',
}

/** Whether a process can be bound to one core. */
export const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0

interface StartOptions {
  /** Environment variables besides those of all processes. */
  readonly env?: NodeJS.ProcessEnv
  /** File descriptor for the standard error. Default: that of this process. */
  readonly stderr?: number
}

/** Starts a program with an IPC channel, on one core if the system supports that. */
export function start(
  core: 0 | 1,
  command: readonly string[],
  { env, stderr }: StartOptions = {},
): ChildProcess {
  const [file = '', ...args] = canPin ? ['taskset', '-c', String(core), ...command] : command
  return spawn(file, args, {
    stdio: ['ignore', 'pipe', stderr ?? 'inherit', 'ipc'],
    env: { ...process.env, ...environment, ...env },
  })
}

/** Kills a child process, and resolves when it has exited. */
export async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}

/** Seconds of processor time of a process so far, all threads together; 0 if the system has no /proc. */
export function processorTime(pid: number): number {
  try {
    const directory = `/proc/${pid}/task`
    const nanoseconds = readdirSync(directory).map((thread) =>
      Number(readFileSync(`${directory}/${thread}/schedstat`, 'utf8').split(' ')[0]),
    )
    return nanoseconds.reduce((sum, time) => sum + time, 0) / 1e9
  } catch {
    return 0
  }
}

/** Resident memory of a process in bytes, now and at its peak; 0 if the system has no /proc. */
export function memory(pid: number): { readonly now: number; readonly peak: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const field = (name: string): number =>
      Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) * 1024
    return { now: field('VmRSS'), peak: field('VmHWM') }
  } catch {
    return { now: 0, peak: 0 }
  }
}
