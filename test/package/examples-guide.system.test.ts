/** Runs the commands of examples/README.md in an empty folder, with the packed tarball in place of the package. */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { environment, Program } from '../support/program.ts'
import { pack, sharedDirectory } from './package.ts'
import { blocks, readPage } from './page.ts'

const run = promisify(execFile)

let tarball = ''
let folder = ''
sharedDirectory(async (directory) => {
  tarball = await pack(directory, { rebuild: false })
  folder = join(directory, 'empty')
  await mkdir(folder)
})

it('The commands of examples/README.md install and start an example, and send it a file', async () => {
  const [start = '', send = ''] = blocks(readPage('examples/README.md').section('Run an example'), 'sh')
  expect(start).toContain(' express-bits-upload ')
  const install = start.replace(' express-bits-upload ', ` '${tarball}' `).replace(/npx tsx (.*)\n$/, '')
  await run('sh', ['-euc', install], { cwd: folder, env: environment() })
  // Without npx and the launcher of tsx, whose child processes would outlive the test.
  const [, program = ''] = /^npx tsx (\S+)$/m.exec(start) ?? []
  const server = new Program([process.execPath, '--import', 'tsx', program], { cwd: folder })
  const { host } = await server.url()

  expect(send).toContain('//localhost:8080/')
  const command = send.replace('//localhost:8080/', `//${host}/`)
  await run('sh', ['-euc', command], {
    cwd: folder,
    env: { ...environment(), BITS_UPLOAD_JOBS: join(folder, 'jobs') },
  })
  const [name = ''] = (await readdir(join(folder, 'incoming'))).filter((entry) => entry.endsWith('.log'))
  expect(await readFile(join(folder, 'incoming', name), 'utf8')).toBe('Hello\n')
}, 180_000)
