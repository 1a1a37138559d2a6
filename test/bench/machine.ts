import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { nginx } from './nginx.ts'
import { canPin } from './process.ts'

/** What was measured on, and what was measured. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  /** Whether server and client had a core each. */
  readonly pinned: boolean
  /** Processes that wanted a core in the last minute, before anything was measured: others' work. 0 where nobody counts. */
  readonly load: number
  /** By name; of the servers, not of the client. */
  readonly versions: Readonly<Record<string, string>>
}

const packages = ['express', '@tus/server', '@tus/file-store', 'multer']

/** @param node the version of the servers' Node */
export const machine = (node: string): Machine => ({
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  cores: cpus().length,
  kernel: release(),
  pinned: canPin,
  load: loadavg()[0] ?? 0,
  versions: {
    node: node.replace('v', ''),
    ...Object.fromEntries(packages.map((name) => [name, packageVersion(name)])),
    ...(nginx && { nginx: nginxVersion(nginx) }),
  },
})

const packageVersion = (name: string): string =>
  JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), 'utf8'))
    .version

const nginxVersion = (command: string): string =>
  /[\d.]+/.exec(spawnSync(command, ['-v'], { encoding: 'utf8' }).stderr)?.[0] ?? 'unknown'

/** Above this load the machine was not the benchmark's own. */
const Idle = 0.5

/** Whatever makes what is measured on this machine worth less. */
export const reservations = ({ load, pinned }: Machine): string[] => [
  ...(pinned ? [] : ['NOT PINNED: server and client may share a core']),
  ...(load > Idle
    ? [`NOT ALONE: load ${load.toFixed(1)} before the first run; what others do shows in all figures`]
    : []),
  ...(nginx ? [] : ['NOT RUN because nginx is missing (.ci/nginx downloads it): the comparison with nginx']),
]

export const machineLine = ({ cpu, cores, kernel, versions }: Machine): string =>
  `${cores} x ${cpu}, kernel ${kernel}; ${Object.entries(versions)
    .map((version) => version.join(' '))
    .join(', ')}`
