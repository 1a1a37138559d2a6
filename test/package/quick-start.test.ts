/**
 * Runs the quick start of README.md, and the upload by hand of lib/protocol/README.md, in a project that has the
 * packed tarball installed.
 */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { TestClient } from '../support/client.ts'
import { freePort } from '../support/port.ts'
import { environment, Program } from '../support/program.ts'
import { Project, pack, root, sharedDirectory } from './package.ts'
import { blocks, readPage } from './page.ts'

const { section } = readPage('README.md')

const run = promisify(execFile)

const [npmInstall = '', startServer = '', sendFile = '', ...commandsOfClone] = blocks(
  section('Quick start'),
  'sh',
).map((text) => text.trim())
const [serverProgram = ''] = blocks(section('Quick start'), 'js')

let project: Project
sharedDirectory(async (directory) => {
  const tarball = await pack(directory, { rebuild: false })
  project = new Project(join(directory, 'project'))
  // The package is not in the registry before its first release, so the tarball replaces it.
  const packages = npmInstall.split(' ').slice(2)
  await project.install(packages.map((name) => (name === 'express-bits-upload' ? tarball : name)))
})

/** Starts the program of the quick start, which does not find a free port itself. */
async function startProgram(cwd: string): Promise<Program> {
  const env = { ...environment(), PORT: String(await freePort()) }
  const [command = '', ...args] = startServer.split(' ')
  return new Program([command], { cwd, args, env })
}

describe("README's quick start", () => {
  it('installs with npm install, starts with node, and receives uploads by the command line and by hand', async () => {
    expect(npmInstall).toMatch(/^npm install [\w -]+$/)
    expect(startServer).toBe('node server.mjs')
    const directory = await project.folder({ 'server.mjs': serverProgram })
    const program = await startProgram(directory)
    const { host, origin } = await program.url()
    const idle = await fetch(origin)
    await idle.body?.cancel()
    // Above the time of common load balancers.
    expect(idle.headers.get('keep-alive')).toBe('timeout=125')

    const [byHand = ''] = blocks(readPage('lib/protocol/README.md').section('An upload by hand'), 'sh')
    expect(byHand).toContain('//localhost:8080/')
    const script = byHand.replaceAll('//localhost:8080/', `//${host}/`)
    const { stdout } = await run('sh', ['-euc', script], { cwd: directory, env: environment() })
    expect(
      stdout.replaceAll('\r', '').match(/^HTTP\/1.1 .*|^BITS-Received-Content-Range: .*|^Hello.*/gm),
    ).toEqual([
      'HTTP/1.1 200 OK',
      'BITS-Received-Content-Range: 7',
      'HTTP/1.1 200 OK',
      'BITS-Received-Content-Range: 13',
      'HTTP/1.1 200 OK',
      'Hello, world!',
    ])
    expect(await readFile(join(directory, 'incoming/hello.txt'), 'utf8')).toBe('Hello, world!')

    expect(sendFile).toMatch(/^npx express-bits-upload send server\.mjs http:\/\/localhost:8080\/upload\/$/)
    await run('sh', ['-euc', sendFile.replace('//localhost:8080/', `//${host}/`)], {
      cwd: directory,
      env: { ...environment(), BITS_UPLOAD_JOBS: join(directory, 'jobs') },
    })
    expect(await readFile(join(directory, 'incoming/server.mjs'), 'utf8')).toBe(serverProgram)
    expect((await new TestClient(new URL('/upload/x/y.txt', `http://${host}`)).create()).status).toBe(404)
    await program.end('SIGTERM')
    expect(program.output).toMatch(/^hello\.txt: 13 bytes$/m)
    expect(program.output).toMatch(/^\/upload\/x\/y\.txt refused: The folder 'x' does not exist/m)
  })

  it('prints the cause of a failure', async () => {
    const directory = await project.folder({ 'server.mjs': serverProgram, incoming: 'a file' })
    const program = await startProgram(directory)
    const { host } = await program.url()
    expect((await new TestClient(new URL('/upload/a.txt', `http://${host}`)).create()).status).toBe(500)
    await program.end('SIGTERM')
    expect(program.output).toMatch(/Create-Session of \/upload\/a\.txt failed/)
    expect(program.output).toMatch(/\[cause\]: \[?Error: EEXIST: /)
  })

  it('names npm scripts of a clone that exist', async () => {
    const commands = commandsOfClone.flatMap((text) => text.match(/npm \w+/g) ?? [])
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    expect(commands).toEqual(['npm ci', 'npm start', 'npm cit'])
    expect(scripts).toMatchObject({ start: expect.any(String), test: expect.any(String) })
  })
})
