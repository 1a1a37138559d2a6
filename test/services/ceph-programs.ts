import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The directory in which `.ci/ceph` installs Ceph if the system does not have it. */
const unpacked = fileURLToPath(new URL('../../.cache/ceph', import.meta.url))

/**
 * The library directories of Debian below `parent`. Their name contains the architecture: `x86_64-linux-gnu`.
 */
function librariesIn(parent: string): string[] {
  const directory = join(unpacked, parent)
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(directory, name))
}

/**
 * The unpacked libraries of Ceph; undefined if Ceph is installed in the system, which finds its own
 * libraries.
 */
export const [cephLibraries] = librariesIn('usr/lib')

/**
 * The complete environment of Ceph's programs. Variables of the caller are left out, because some configure
 * Ceph.
 */
export const cephEnvironment: NodeJS.ProcessEnv = {
  PATH: `${join(unpacked, 'usr/bin')}:${process.env.PATH}`,
  LD_LIBRARY_PATH: [
    ...librariesIn('usr/lib'),
    ...librariesIn('lib'),
    ...librariesIn('usr/lib').map((path) => join(path, 'ceph')),
  ].join(':'),
}

/**
 * Whether all necessary programs of Ceph run here. They are run, because an installed program can lack a
 * library.
 */
export function hasCeph(): boolean {
  const programs = ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'osdmaptool']
  return programs.every((program) => spawnSync(program, ['--version'], { env: cephEnvironment }).status === 0)
}
