/** Runs the command line in a project that has the packed tarball installed. */
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
import { Project, pack, sharedDirectory } from './package.ts'

const run = promisify(execFile)

let project: Project
sharedDirectory(async (directory) => {
  project = new Project(join(directory, 'project'))
  await project.install([await pack(directory, { rebuild: false })])
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
