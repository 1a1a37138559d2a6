/** Installs the packed tarball with the frameworks of examples/frameworks, and starts each of its programs. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import type { OutgoingHttpHeaders } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { Project, pack, root, sharedDirectory } from '../package/package.ts'
import { noise } from '../support/bytes.ts'
import { type Answer, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { Program } from '../support/program.ts'
import { TlsClient, uploadFile as uploadInThree } from './upload.ts'

const run = promisify(execFile)
const folder = 'examples/frameworks'

/** The programs, each with a part of the answer of its framework to a request that has no route. */
const programs: readonly (readonly [program: string, notFound: RegExp])[] = [
  ['express5.mjs', /Cannot GET \/nothing/],
  ['express4.mjs', /Cannot GET \/nothing/],
  ['connect.mjs', /Cannot GET \/nothing/],
  ['https.mjs', /Cannot GET \/nothing/],
  ['gateway.mjs', /Cannot GET \/nothing/],
  ['nest.ts', /"message":"Cannot GET \/nothing"/],
  ['fastify.mjs', /"message":"Route GET:\/nothing not found"/],
  ['koa.mjs', /^Not Found$/],
  ['hono.mjs', /^404 Not Found$/],
  ['polka.mjs', /^Not Found$/],
  ['node-http.mjs', /^Nothing here$/],
]

/** Starts a program in its project, in which all programs share the directory `incoming`. */
async function start({ directory }: Project, name: string) {
  const args = name.endsWith('.ts') ? ['--import', 'tsx', name] : [name]
  const program = new Program([process.execPath, ...args], { cwd: directory })
  const url = await program.url()
  const Client = url.protocol === 'https:' ? TlsClient : TestClient
  const { agent } = new Client(url)
  return {
    url,
    agent,
    clientOf: (path: string, headers: OutgoingHttpHeaders) => new Client(new URL(path, url), headers),
    /** Sends a request that is not a packet. */
    request: (path: string, options: { method?: string; body?: string } = {}): Promise<Answer> =>
      send(new URL(path, url), undefined, {
        method: 'GET',
        agent,
        headers: { 'Content-Type': 'application/json' },
        ...options,
      }),
    received: (file: string) => readFile(join(directory, 'incoming', file)),
  }
}

async function receivesFiles(project: Project, name: string): Promise<void> {
  const { url, request, received, clientOf } = await start(project, name)
  const directory = await temporaryDirectory()
  const path = join(directory, 'a.bin')
  const file = noise(100_000)
  await writeFile(path, file)
  const options = {
    maxFragmentSize: '20kb',
    tls: { rejectUnauthorized: false },
  }

  const once = await uploadFile(path, new URL(`${name}.bin`, url), options)
  expect(once.fragments).toBeGreaterThan(3)
  expect((await received(`${name}.bin`)).equals(file)).toBe(true)

  const target = new URL(`${name}.resumed.bin`, url)
  const job = join(directory, 'a.job')
  const controller = new AbortController()
  const interrupted = uploadFile(path, target, {
    ...options,
    job,
    signal: controller.signal,
    onProgress: ({ held }) => held > 0 && controller.abort(new Error('interrupted')),
  })
  await expect(interrupted).rejects.toThrow('interrupted')
  const resumed = await uploadFile(path, target, { ...options, job })
  expect(resumed.fragments).toBeLessThan(once.fragments)
  expect((await received(`${name}.resumed.bin`)).equals(file)).toBe(true)

  // A body parser that ran before bitsUpload() would read these fragments.
  const typed = clientOf(`${name}.json`, { 'Content-Type': 'application/json' })
  await uploadInThree(typed, file)
  expect((await received(`${name}.json`)).equals(file)).toBe(true)

  // The download of a reply that does not exist. The 404 of a framework has a body.
  const id = encodeURIComponent(`{${crypto.randomUUID()}}`)
  const reply = await request(`/upload/BITS-Sessions/Replies/${id}/responsefile.bin`)
  expect([reply.status, reply.body.length]).toEqual([404, 0])
}

async function passesOtherRequests(project: Project, name: string, notFound: RegExp): Promise<void> {
  const { url, agent, request } = await start(project, name)
  const hello = await request('/hello')
  expect([hello.status, String(hello.body)]).toEqual([200, 'Hello'])
  // Above the time of common load balancers.
  expect(hello.headers['keep-alive']).toBe('timeout=125')
  const json = await request('/hello', { method: 'POST', body: '{"a":[1,2]}' })
  expect(JSON.parse(String(json.body))).toEqual({ a: [1, 2] })

  // `/uploads` is not below `/upload`, and `/upload/a.bin` can be requested only with BITS_POST.
  for (const path of ['/nothing', '/uploads/a.bin', '/upload/a.bin']) {
    const answer = await request(path)
    expect(answer.status).toBe(404)
    const text = notFound.source.replace('\\/nothing', path.replaceAll('/', '\\/'))
    expect(String(answer.body)).toMatch(new RegExp(text))
  }
  const elsewhere = await send(new URL('/nothing', url), 'Ping', { agent })
  expect(elsewhere.status).toBe(404)
}

/** Runs the compiler of TypeScript; returns its output. */
async function compile(...args: string[]): Promise<string> {
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, ...args]).catch((error) => error)
  return stdout
}

describe('examples/frameworks', () => {
  let project: Project
  sharedDirectory(async (directory) => {
    project = new Project(join(directory, 'frameworks'))
    await project.copy(folder, await pack(directory, { rebuild: false }))
  })

  it('has no other programs', () => {
    const files = readdirSync(join(root, folder)).filter((name) => /\.(?:mjs|ts)$/.test(name))
    expect(files.sort()).toEqual(programs.map(([name]) => name).sort())
  })

  it.each(programs)('%s: receives files in several fragments, also after an interruption', (name) =>
    receivesFiles(project, name),
  )

  it.each(programs)('%s: passes other requests on to the framework', (name, notFound) =>
    passesOtherRequests(project, name, notFound),
  )

  it('compiles with the types of the package and of the frameworks', async () => {
    expect(await compile('-p', project.directory)).toBe('')
  })
})

/** Next.js takes a minute to install and to build, and 350 MB. */
describe.runIf(process.env.BITS_TEST_NEXT === 'required')('examples/frameworks/next', () => {
  let project: Project
  sharedDirectory(async (directory) => {
    project = new Project(join(directory, 'next'))
    await project.copy(`${folder}/next`, await pack(directory, { rebuild: false }))
    await run('npm', ['run', 'build'], {
      cwd: project.directory,
      env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' },
      shell: process.platform === 'win32',
    })
  })

  it('receives files in several fragments, also after an interruption', () =>
    receivesFiles(project, 'server.mjs'))

  it('passes other requests on to Next.js', () =>
    passesOtherRequests(project, 'server.mjs', /This page could not be found/))

  it('compiles with the types of the package and of Next.js', async () => {
    const options = ['--ignoreConfig', '--noEmit', '--checkJs', '--skipLibCheck', '--strict']
    const target = ['--target', 'es2023', '--module', 'esnext', '--moduleResolution', 'bundler']
    const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]
    const file = join(project.directory, 'server.mjs')
    expect(await compile(...options, ...target, ...types, file)).toBe('')
  })
})
if (process.env.BITS_TEST_NEXT !== 'required')
  console.warn('NOT RUN without BITS_TEST_NEXT=required: examples/frameworks/next')
