/** Namespaces of Linux, in which tests mount file systems and run lockers. They need root. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, it, onTestFinished } from 'vitest'
import { Output } from '../support/output.ts'

/**
 * Defines a suite that needs something of the system. Without it the suite is skipped with a warning. With
 * BITS_TEST_NAMESPACES=required it fails.
 * @param reason why the suite cannot run; undefined: it can
 */
export function describeUnless(reason: string | undefined, name: string, suite: () => void): void {
  if (reason === undefined) {
    describe(name, suite)
  } else if (process.env.BITS_TEST_NAMESPACES === 'required') {
    it(name, () => {
      throw new Error(reason)
    })
  } else {
    console.warn(`NOT RUN because ${reason}: ${name}`)
    describe.skip(name, suite)
  }
}

/** Why a shell script cannot run in new namespaces; undefined: it can. Its mounts end with it. */
export function unavailable(options: readonly string[], script = 'true'): string | undefined {
  const { status, stderr, error } = spawnSync('unshare', [...options, 'sh', '-ec', script], {
    encoding: 'utf8',
    env: shellEnvironment,
  })
  if (status === 0) return undefined
  return `a namespace cannot be created, or a file system cannot be mounted (${error?.message ?? stderr.trim()})`
}

/** Packages that `.ci/unpack .cache/NAME NAME` has downloaded, if it has. */
const packages = ['xfsprogs', 'bindfs'].map((name) =>
  fileURLToPath(new URL(`../../.cache/${name}`, import.meta.url)),
)

const libraries = packages
  .flatMap((path) => [`${path}/usr/lib`, `${path}/lib`])
  .filter((parent) => existsSync(parent))
  .flatMap((parent) => readdirSync(parent).map((name) => `${parent}/${name}`))
  .filter((path) => path.endsWith('-linux-gnu'))

/** In which the programs of these packages and their libraries are found. */
const shellEnvironment: NodeJS.ProcessEnv = {
  ...process.env,
  PATH: [process.env.PATH, '/usr/sbin', '/sbin']
    .concat(packages.flatMap((path) => [`${path}/usr/bin`, `${path}/sbin`]))
    .join(':'),
  ...(libraries.length > 0 && { LD_LIBRARY_PATH: libraries.join(':') }),
}

/** A script that gives the processes of its mount namespace another boot id, as a virtual machine has. */
export const mountBootId = `
  id=$(mktemp)
  echo 11111111-2222-4333-8444-555555555555 > "$id"
  mount --bind "$id" /proc/sys/kernel/random/boot_id
  rm "$id"`

/**
 * A script that mounts a directory through FUSE at another path. As with a network file system, a socket that was created at
 * one of the two paths cannot be reached by the other one.
 */
export const mountThroughFuse = (directory: string, mountPoint: string): string => `
  setpriv --pdeathsig KILL bindfs -f -o attr_timeout=0,entry_timeout=0,negative_timeout=0 ${directory} ${mountPoint} &
  until mountpoint -q ${mountPoint}; do kill -0 $!; sleep 0.02; done`

/** New namespaces, which end after the test, or with this process, and with them their mounts and loop devices. */
export interface Namespaces {
  /** A command that runs a program in them: its arguments are appended. */
  readonly command: readonly string[]
}

/**
 * Creates namespaces.
 * @param options of `unshare`, `--mount` and `--net`
 * @param script runs in them, for example to mount file systems
 * @param args of the script: `$1`, `$2`
 */
export async function createNamespaces(
  options: readonly ('--mount' | '--net')[],
  script = '',
  ...args: string[]
): Promise<Namespaces> {
  // It ends when its standard input does, which this process has open.
  const child = spawn(
    'unshare',
    [...options, 'sh', '-ec', `${script}\necho created; exec cat >&2`, 'sh', ...args],
    { stdio: 'pipe', env: shellEnvironment },
  )
  const output = new Output(child)
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await output.ended
  })
  await output.says(/created/)
  const files: Readonly<Record<string, string>> = { '--mount': 'mnt', '--net': 'net' }
  const enter = options.map((option) => `${option}=/proc/${child.pid}/ns/${files[option]}`)
  return { command: ['nsenter', ...enter, '--'] }
}
