import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import { temporaryDirectory } from './directory.ts'
import { freePort } from './port.ts'
import { environment, Program } from './program.ts'

/** The path at which `.ci/caddy` installs Caddy. */
const unpacked = fileURLToPath(new URL('../../.cache/caddy/usr/bin/caddy', import.meta.url))

const available = ['caddy', unpacked].find((command) => spawnSync(command, ['version']).status === 0)

/** The command that runs Caddy; throws if Caddy is missing. */
function caddy(): string {
  if (!available) throw new Error('Caddy is missing; .ci/caddy downloads it')
  return available
}

/**
 * Defines a suite that needs Caddy. Without Caddy the suite is skipped with a warning. With
 * BITS_TEST_SERVERS=required, as in CI, it fails.
 */
export function describeCaddy(name: string, suite: () => void): void {
  if (available) {
    describe(name, suite)
  } else if (process.env.BITS_TEST_SERVERS === 'required') {
    it(name, caddy)
  } else {
    console.warn(`NOT RUN because Caddy is missing (.ci/caddy downloads it): ${name}`)
    describe.skip(name, suite)
  }
}

/**
 * Starts Caddy with a plain `reverse_proxy` on a free port of the loopback interface; it is killed after the
 * test. It has no admin endpoint, which would need a fixed port.
 * @param upstream the server that gets the requests
 * @returns the URL of Caddy: `http://127.0.0.1:port/`
 */
export async function startCaddy(upstream: URL): Promise<URL> {
  const directory = await temporaryDirectory()
  const file = join(directory, 'Caddyfile')
  for (;;) {
    const port = await freePort()
    await writeFile(file, caddyfile(port, upstream))
    const program = new Program([caddy(), 'run', '--config', file, '--adapter', 'caddyfile'], {
      cwd: directory,
      // Caddy writes its state below these, by default in the home directory.
      env: { ...environment(), HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory },
    })
    // Only the log shows that Caddy listens: another process may have taken the port, and accept connections.
    const [line] = await program.says(/serving initial configuration|address already in use/)
    if (line.startsWith('serving')) return new URL(`http://127.0.0.1:${port}/`)
    await program.end('SIGKILL')
  }
}

const caddyfile = (port: number, { host }: URL): string => `{
  admin off
  auto_https off
}
http://127.0.0.1:${port} {
  reverse_proxy ${host}
}
`
