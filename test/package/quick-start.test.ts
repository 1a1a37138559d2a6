/**
 * Runs the commands of README.md, the upload by hand of lib/protocol/README.md, and the command line, in a project that has
 * the packed tarball installed.
 */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { uploadFile } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { TestClient } from '../support/client.ts'
import { environment, Program } from '../support/program.ts'
import { uploadServer } from '../support/server.ts'
import { Project, pack, root, sharedDirectory } from './package.ts'
import { blocks, readPage } from './page.ts'

const { section } = readPage('README.md')

const run = promisify(execFile)

const [npmInstall = '', startServer = '', ...commandsOfClone] = blocks(section('Quick start'), 'sh').map(
  (text) => text.trim(),
)
const [serverProgram = ''] = blocks(section('Quick start'), 'js')

let project: Project
sharedDirectory(async (directory) => {
  const tarball = await pack(directory, { rebuild: false })
  project = new Project(join(directory, 'project'))
  // The package is not in the registry before its first release, so the tarball replaces it.
  const packages = npmInstall.split(' ').slice(2)
  await project.install(packages.map((name) => (name === 'express-bits-upload' ? tarball : name)))
})

describe("README's quick start", () => {
  it('installs with npm install, starts with node, and receives the upload by hand', async () => {
    expect(npmInstall).toMatch(/^npm install [\w -]+$/)
    expect(startServer).toBe('node server.mjs')
    const directory = await project.folder({ 'server.mjs': serverProgram })
    const program = new Program(['sh', '-c', `exec ${startServer}`], { cwd: directory })
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
    expect((await new TestClient(new URL('/upload/x/y.txt', `http://${host}`)).create()).status).toBe(404)
    await program.end('SIGTERM')
    expect(program.output).toMatch(/^hello\.txt: 13 bytes$/m)
    expect(program.output).toMatch(/^\/upload\/x\/y\.txt refused: The folder 'x' does not exist/m)
  })

  it('prints the cause of a failure', async () => {
    const directory = await project.folder({ 'server.mjs': serverProgram, incoming: 'a file' })
    const program = new Program(['sh', '-c', `exec ${startServer}`], { cwd: directory })
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

describe('the installed command line', () => {
  const file = noise(300_000)

  const bin = (): string => join(project.directory, 'node_modules/.bin/express-bits-upload')

  /** The environment of a command that keeps its job files in its working directory. */
  const jobsIn = (cwd: string): NodeJS.ProcessEnv => ({
    ...environment(),
    BITS_UPLOAD_JOBS: join(cwd, 'jobs'),
  })

  const command = (cwd: string, ...args: string[]) =>
    run(bin(), args, { cwd, env: jobsIn(cwd) }).catch((error) => error)

  /** Starts `serve` in a directory with the file a.bin. */
  async function startServe(...args: string[]) {
    const cwd = await project.folder()
    await writeFile(join(cwd, 'a.bin'), file)
    const program = new Program([bin()], { cwd, args: ['serve', ...args] })
    return { cwd, program, url: await program.url() }
  }

  it('serve receives a file and exits with 0 on SIGTERM', async () => {
    const { cwd, program, url } = await startServe()
    await uploadFile(new TestClient(new URL('b.bin', url)), file)
    await program.says(/b\.bin: complete/)
    expect(await readFile(join(cwd, 'incoming/b.bin'))).toEqual(file)
    expect(await program.end('SIGTERM')).toBe(0)
  })

  it('send sends a file', async () => {
    const { cwd, url } = await startServe()
    expect(await command(cwd, 'send', 'a.bin', url.href)).toMatchObject({
      stderr: expect.stringMatching(/^a\.bin: sent, 293KB/),
    })
    expect((await readFile(join(cwd, 'incoming/a.bin'))).equals(file)).toBe(true)
  })

  it('jobs lists, resumes and cancels interrupted uploads', async () => {
    let isAvailable = false
    const { url, directory } = await uploadServer({
      onUpload() {
        if (!isAvailable) throw new Error('the application is not available')
      },
    })
    const cwd = await project.folder({ 'a.txt': 'a', 'b.txt': 'b' })
    const interrupted = (name: string) => command(cwd, 'send', '--give-up', '0', name, url.href)

    expect(await interrupted('a.txt')).toMatchObject({ code: 3 })
    expect((await command(cwd, 'jobs')).stdout).toContain(new URL('a.txt', url).href)
    isAvailable = true
    expect((await command(cwd, 'jobs', 'resume')).stderr).toMatch(/^a\.txt: sent/)
    expect(await readFile(join(directory, 'a.txt'), 'utf8')).toBe('a')

    isAvailable = false
    expect(await interrupted('b.txt')).toMatchObject({ code: 3 })
    expect((await command(cwd, 'jobs', 'cancel', 'all')).stdout).toContain('cancelled')
    expect((await command(cwd, 'jobs')).stdout).toBe('There are no unfinished uploads.\n')
  })

  it('doctor finds no fault with serve', async () => {
    const { cwd, url } = await startServe()
    expect((await command(cwd, 'doctor', url.href)).stdout).toMatch(/^No faults$/m)
  })
})
