/** Runs the built command-line program in a separate process. */

import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { environment, Program } from '../support/program.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** Jobs are remembered in the directory that a command runs in: nobody else's. */
const environmentIn = (cwd: string): NodeJS.ProcessEnv => ({
  ...environment(),
  BITS_UPLOAD_JOBS: join(cwd, 'jobs'),
  BITS_UPLOAD_USER: undefined,
})

/** A command that runs until it is told to stop, or comes to its end. */
export const start = (cwd: string, ...args: string[]): Program =>
  new Program([process.execPath, main], { cwd, args, env: environmentIn(cwd) })

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A command that comes to its end by itself. */
export function command(cwd: string, ...args: string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], { cwd, env: environmentIn(cwd) }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
  })
}
