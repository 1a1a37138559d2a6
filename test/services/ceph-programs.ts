import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where `.ci/ceph` puts what the system lacks. */
const unpacked = fileURLToPath(new URL('../../.cache/ceph', import.meta.url))

/** Where Debian keeps libraries below `parent`. The kind of machine is part of the name: `x86_64-linux-gnu`. */
function librariesIn(parent: string): string[] {
  const directory = join(unpacked, parent)
  if (!existsSync(directory)) return []
  return readdirSync(directory)
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(directory, name))
}

/** The unpacked libraries of Ceph itself; undefined if it is the system's, which knows its own. */
export const [cephLibraries] = librariesIn('usr/lib')

/** The environment of Ceph's programs. Nothing else gets in: there are variables of its own that would change what it does. */
export const cephEnvironment: NodeJS.ProcessEnv = {
  PATH: `${join(unpacked, 'usr/bin')}:${process.env.PATH}`,
  LD_LIBRARY_PATH: [
    ...librariesIn('usr/lib'),
    ...librariesIn('lib'),
    ...librariesIn('usr/lib').map((path) => join(path, 'ceph')),
  ].join(':'),
}

/** Whether all programs that it takes run here. They may be there and lack a library: to know is to run them. */
export function hasCeph(): boolean {
  const programs = ['radosgw', 'radosgw-admin', 'ceph-mon', 'ceph-osd', 'osdmaptool']
  return programs.every((program) => spawnSync(program, ['--version'], { env: cephEnvironment }).status === 0)
}
