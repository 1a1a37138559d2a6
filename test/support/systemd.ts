import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it } from 'vitest'
import { environment } from './program.ts'

/** The directory to which `.ci/systemd` unpacks systemd. */
const unpacked = fileURLToPath(new URL('../../.cache/systemd', import.meta.url))

/** An unpacked systemd finds neither its libraries nor its units by itself. */
function environmentOf(command: string): NodeJS.ProcessEnv {
  if (command === 'systemd-analyze') return environment()
  const libraries = readdirSync(join(unpacked, 'usr/lib'))
    .filter((name) => name.endsWith('-linux-gnu'))
    .flatMap((name) => [join(unpacked, 'usr/lib', name), join(unpacked, 'usr/lib', name, 'systemd')])
  return {
    ...environment(),
    LD_LIBRARY_PATH: libraries.join(':'),
    // The colon at the end stands for the directories of this system.
    SYSTEMD_UNIT_PATH: `${join(unpacked, 'lib/systemd/system')}:`,
  }
}

const available = ['systemd-analyze', join(unpacked, 'usr/bin/systemd-analyze')].find(
  (command) =>
    (command === 'systemd-analyze' || existsSync(command)) &&
    spawnSync(command, ['--version'], { env: environmentOf(command) }).status === 0,
)

/**
 * Defines a suite that needs systemd-analyze. Without it the suite is skipped with a warning. With
 * BITS_TEST_SERVERS=required, as in CI, it fails.
 */
export function describeSystemd(name: string, suite: () => void): void {
  if (available) {
    describe(name, suite)
  } else if (process.env.BITS_TEST_SERVERS === 'required') {
    it(name, () => void systemdAnalyze())
  } else {
    console.warn(`NOT RUN because systemd-analyze is missing (.ci/systemd downloads it): ${name}`)
    describe.skip(name, suite)
  }
}

/** Runs systemd-analyze; resolves to its exit code and its output. */
export function systemdAnalyze(...args: string[]): {
  readonly status: number | null
  readonly output: string
} {
  if (!available) throw new Error('systemd-analyze is missing; .ci/systemd downloads it')
  const { status, stdout, stderr } = spawnSync(available, args, {
    encoding: 'utf8',
    env: environmentOf(available),
  })
  return { status, output: stdout + stderr }
}
