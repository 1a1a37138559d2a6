/** Runs the program in the section Hooks of README.md. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it, onTestFinished, vi } from 'vitest'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { freePort } from '../support/port.ts'
import { Program } from '../support/program.ts'
import { root } from './package.ts'
import { blocks, readPage } from './page.ts'

const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

it('README.md: the hooks refuse other names and other contents, and rename the file', async () => {
  const [program = ''] = blocks(readPage('README.md').section('Hooks'), 'ts')
  expect(program).toContain('.listen(8080,')
  const port = await freePort()
  // In the repository, where its imports are resolved, in a folder that git ignores.
  await mkdir(join(root, 'incoming'), { recursive: true })
  const folder = await mkdtemp(join(root, 'incoming/readme-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const file = join(folder, 'hooks.mts')
  await writeFile(file, program.replace('.listen(8080,', `.listen(${port},`))
  const directory = await temporaryDirectory()
  const server = new Program([process.execPath, '--import', tsx, file], { cwd: directory })

  const clientOf = (name: string, headers: Record<string, string>): TestClient =>
    new TestClient(new URL(`http://127.0.0.1:${port}/upload/${name}`), headers)
  const alice = { 'X-User': 'alice' }
  await vi.waitFor(async () => expect((await clientOf('a.log', {}).create()).status).toBe(403), 10_000)
  expect((await clientOf('a.txt', alice).create()).status).toBe(403)

  const text = clientOf('a.log', alice)
  expect((await text.create()).status).toBe(200)
  expect((await text.fragment(0, Buffer.from('text'), 4)).status).toBe(200)
  await server.says(/^a\.log from alice: 4 bytes$/m)
  expect((await readdir(join(directory, 'incoming'))).filter((name) => name.endsWith('.log'))).toHaveLength(1)

  const binary = clientOf('b.log', alice)
  expect((await binary.create()).status).toBe(200)
  expect((await binary.fragment(0, Buffer.from([0, 1]), 2)).status).toBe(403)
})
