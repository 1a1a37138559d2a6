import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { temporaryDirectory } from '../support/directory.ts'
import { environment, Program } from '../support/program.ts'

/** The path of the folder of examples. */
export const folder = fileURLToPath(new URL('../../examples', import.meta.url))
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

/** The arguments of Node that run an example. @param name its path below `examples` without `.mjs` or `.ts` */
function command(name: string): [string, ...string[]] {
  const script = join(folder, `${name}.mjs`)
  return existsSync(script) ? [script] : ['--import', tsx, join(folder, `${name}.ts`)]
}

/**
 * Starts an example in a new, empty directory.
 * @param name its path below `examples` without `.mjs` or `.ts`, for example `authentication/basic`
 */
export async function start(
  name: string,
  ...args: string[]
): Promise<{ example: Program; directory: string }> {
  const directory = await temporaryDirectory()
  return { example: startIn(directory, name, ...args), directory }
}

/** Starts an example in an existing directory. */
export const startIn = (directory: string, name: string, ...args: string[]): Program =>
  startWith({}, directory, name, ...args)

/** Starts an example in an existing directory with more environment variables. */
export const startWith = (
  env: NodeJS.ProcessEnv,
  directory: string,
  name: string,
  ...args: string[]
): Program =>
  new Program([process.execPath, ...command(name)], {
    cwd: directory,
    args,
    env: { ...environment(), ...env },
  })
