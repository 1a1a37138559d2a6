import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { cephEnvironment } from '../services/ceph-programs.ts'
import { nginx } from './nginx.ts'
import { canPin } from './process.ts'

/** The machine, and the versions of the measured software. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly kernel: string
  /** Whether server and client each had a core of their own. */
  readonly pinned: boolean
  /** Load average of the minute before the first run: the work of other processes. 0 on Windows. */
  readonly load: number
  /** Versions by name, of the servers, not of the client. */
  readonly versions: Readonly<Record<string, string>>
}

const packages = [
  ...[
    'express',
    '@tus/server',
    '@tus/file-store',
    '@tus/s3-store',
    '@tus/azure-store',
    'multer',
    'tus-js-client',
  ],
  ...['@aws-sdk/client-s3', '@azure/storage-blob', 'azurite'],
]

/** @param node the version of Node that runs the servers */
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
    ...cephVersion(),
  },
})

const packageVersion = (name: string): string =>
  JSON.parse(readFileSync(new URL(`../../node_modules/${name}/package.json`, import.meta.url), 'utf8'))
    .version

const nginxVersion = (command: string): string =>
  /[\d.]+/.exec(spawnSync(command, ['-v'], { encoding: 'utf8' }).stderr)?.[0] ?? 'unknown'

function cephVersion(): { readonly ceph?: string } {
  const program: string = 'radosgw'
  const { stdout } = spawnSync(program, ['--version'], { env: cephEnvironment, encoding: 'utf8' })
  const [ceph] = /\d[\d.]+/.exec(stdout ?? '') ?? []
  return ceph === undefined ? {} : { ceph }
}

/** Above this load other processes affect the results. */
const MaxIdleLoad = 0.5

/** What makes the results of this machine less reliable. */
export const warnings = ({ load, pinned }: Machine): string[] => [
  ...(pinned ? [] : ['NOT PINNED: server and client may share a core']),
  ...(load > MaxIdleLoad
    ? [`NOT ALONE: load ${load.toFixed(1)} before the first run; other processes affect all figures`]
    : []),
  ...(nginx
    ? []
    : ['NOT RUN because nginx is missing (.ci/proxies downloads it): the comparison with nginx']),
]

export const machineLine = ({ cpu, cores, kernel, versions }: Machine): string =>
  `${cores} x ${cpu}, kernel ${kernel}; ${Object.entries(versions)
    .map((version) => version.join(' '))
    .join(', ')}`
