import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import { temporaryDirectory } from './directory.ts'
import { freePort } from './port.ts'
import { Program } from './program.ts'

/** The path at which `.ci/nginx` installs nginx. */
const unpacked = fileURLToPath(new URL('../../.cache/nginx/usr/sbin/nginx', import.meta.url))

const available = ['nginx', unpacked].find((command) => spawnSync(command, ['-v']).status === 0)

/** The command that runs nginx; throws if nginx is missing. */
function nginx(): string {
  if (!available) throw new Error('nginx is missing; .ci/nginx downloads it')
  return available
}

/**
 * Defines a suite that needs nginx. Without nginx the suite is skipped with a warning. With
 * BITS_TEST_SERVERS=required, as in CI, it fails.
 */
export function describeNginx(name: string, suite: () => void): void {
  if (available) {
    describe(name, suite)
  } else if (process.env.BITS_TEST_SERVERS === 'required') {
    it(name, nginx)
  } else {
    console.warn(`NOT RUN because nginx is missing (.ci/nginx downloads it): ${name}`)
    describe.skip(name, suite)
  }
}

/** A running nginx. */
export interface Nginx {
  /** `http://127.0.0.1:port/` */
  readonly url: URL
  /** Its output is the error log with level `info`. */
  readonly program: Program
}

/**
 * Starts nginx on a free port of the loopback interface; it is killed after the test.
 * @param http returns the block `http` of the configuration for a port to listen on
 */
export async function startNginx(http: (port: number) => string): Promise<Nginx> {
  const directory = await temporaryDirectory()
  const file = join(directory, 'nginx.conf')
  for (;;) {
    const port = await freePort()
    await writeFile(file, configuration(http(port)))
    const program = new Program([nginx(), '-p', directory, '-c', file, '-e', 'stderr'], { cwd: directory })
    // Only the log shows that nginx listens: another process may have taken the port, and accept connections.
    const [line] = await program.says(/using the "\w+" event method|bind\(\) to .* failed/)
    if (line.startsWith('using')) return { url: new URL(`http://127.0.0.1:${port}/`), program }
    await program.end('SIGKILL')
  }
}

/**
 * One process in the foreground, for three reasons: killing it leaves no workers; as root it keeps its user
 * (workers would run as another user, without access to the directory of the test); and round robin counts
 * all connections together.
 */
const configuration = (http: string): string => `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr info;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
${http}
}
`
