/** Runs the built command-line program in a separate process. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import { environment, Program } from '../support/program.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Job files are in the directory in which the command runs, so that tests do not share them. */
const environmentIn = (cwd: string): NodeJS.ProcessEnv => ({
  ...environment(),
  BITS_UPLOAD_JOBS: join(cwd, 'jobs'),
  BITS_UPLOAD_USER: undefined,
})

/** Starts a command that runs until it ends or gets a signal. */
export const start = (cwd: string, ...args: string[]): Program =>
  new Program([process.execPath, main], { cwd, args, env: environmentIn(cwd) })

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command to its end. */
export function command(cwd: string, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd, env: environmentIn(cwd) }
    const program = execFile(process.execPath, [main, ...args], options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
    // A command that never ends must not outlive a test that timed out.
    onTestFinished(() => void program.kill('SIGKILL'))
  })
}
