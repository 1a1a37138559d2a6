/** Which modules a process loads at its start: few, so that it starts fast. `npm run bench -- start` measures the time. */
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'
import { environment, Program } from '../support/program.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const main = join(root, 'dist/cli/main.js')

/** The modules that `run` loads in a process with this environment, as paths below the repository. */
async function modulesOf(run: (env: NodeJS.ProcessEnv) => Promise<unknown>): Promise<string[]> {
  // Node writes there which functions of which modules were called.
  const coverage = await temporaryDirectory()
  await run({ ...environment(), NODE_V8_COVERAGE: coverage })
  const files = await readdir(coverage)
  expect(files).toHaveLength(1)
  const { result }: { result: { url: string }[] } = JSON.parse(
    await readFile(join(coverage, String(files)), 'utf8'),
  )
  const paths = result.map(({ url }) => url).filter((url) => url.startsWith('file:'))
  return paths.map((url) => relative(root, fileURLToPath(url)).replaceAll(sep, '/')).sort()
}

const modulesOfNode = (...args: string[]): Promise<string[]> =>
  modulesOf((env) => promisify(execFile)(process.execPath, args, { cwd: root, env }))

/** The installed packages among modules. */
const packagesOf = (modules: readonly string[]): string[] => [
  ...new Set(modules.flatMap((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [])),
]

describe('start-up', () => {
  it.each([[[]], [['serve']], [['send']], [['jobs']], [['doctor']]])(
    'of %j --help loads the texts of the commands only',
    async (command) => {
      expect(await modulesOfNode(main, ...command, '--help')).toEqual([
        'dist/cli/command.js',
        'dist/cli/commands/connection-options.js',
        'dist/cli/commands/doctor.js',
        'dist/cli/commands/jobs.js',
        'dist/cli/commands/send.js',
        'dist/cli/commands/serve.js',
        'dist/cli/main.js',
        'dist/cli/run.js',
        'dist/validate.js',
        'node_modules/bytes/index.js',
        'node_modules/leven/index.js',
      ])
    },
  )

  it.each(['express-bits-upload', 'express-bits-upload/client'])(
    'of an application that imports %s loads two small packages',
    async (name) => {
      const modules = await modulesOfNode('--input-type=module', '--eval', `import '${name}'`)
      expect(modules).toContain('dist/validate.js')
      expect(packagesOf(modules)).toEqual(['bytes', 'leven'])
    },
  )

  it('of serve loads neither the client nor the packages of other commands', async () => {
    const modules = await modulesOf(async (env) => {
      const cwd = await temporaryDirectory()
      const server = new Program([process.execPath, main], { cwd, args: ['serve'], env })
      await server.url()
      await server.end('SIGTERM')
    })
    expect(modules).toContain('dist/cli/serve.js')
    expect(modules.filter((path) => path.startsWith('dist/client/'))).toEqual([])
    expect(packagesOf(modules)).toEqual(['bytes', 'leven'])
  })
})
