import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import { temporaryDirectory } from './directory.ts'
import { freePort } from './port.ts'
import { Program } from './program.ts'

/** Where `.ci/nginx` puts it. */
const unpacked = fileURLToPath(new URL('../../.cache/nginx/usr/sbin/nginx', import.meta.url))

const found = ['nginx', unpacked].find((command) => spawnSync(command, ['-v']).status === 0)

/** The command that runs nginx; throws if there is none. */
function nginx(): string {
  if (!found) throw new Error('nginx is missing; .ci/nginx downloads it')
  return found
}

/**
 * A suite that needs nginx. Where there is none it is skipped, and says so; with BITS_TEST_SERVERS=required, as in CI,
 * it fails.
 */
export function describeNginx(name: string, suite: () => void): void {
  if (found) {
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
  /** What it logs, down to `info`, is the program's output. */
  readonly program: Program
}

/**
 * Starts nginx on a free port of the loopback; it ends with the test.
 * @param http the block `http` of its configuration, for the port that it is to listen on
 */
export async function startNginx(http: (port: number) => string): Promise<Nginx> {
  const directory = await temporaryDirectory()
  const file = join(directory, 'nginx.conf')
  for (;;) {
    const port = await freePort()
    await writeFile(file, configuration(http(port)))
    const program = new Program([nginx(), '-p', directory, '-c', file, '-e', 'stderr'], { cwd: directory })
    // It prints when it listens. A connection to the port could reach another process that took it in between.
    const [line] = await program.says(/using the "\w+" event method|bind\(\) to .* failed/)
    if (line.startsWith('using')) return { url: new URL(`http://127.0.0.1:${port}/`), program }
    await program.end('SIGKILL')
  }
}

/**
 * One process in the foreground, so that to end it is to end all of it, and so that it keeps its user: workers of root's
 * nginx would be another one, to whom a test's directory is closed. It also makes its round robin one for all connections.
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
