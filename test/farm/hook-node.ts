import { fileURLToPath } from 'node:url'
import { environment, Program } from '../support/program.ts'

/**
 * Starts a node with a hook.
 * @param hook `read`: reads each file, `hang`: prints `onUpload(name)`, and never returns
 */
export const startHookNode = (hook: 'read' | 'hang', env: NodeJS.ProcessEnv, directory: string): Program =>
  new Program([process.execPath, fileURLToPath(new URL('hook-node.mjs', import.meta.url))], {
    cwd: directory,
    env: { ...environment(), ...env, HOOK: hook },
  })
