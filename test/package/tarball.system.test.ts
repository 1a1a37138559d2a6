/** Tests the packed tarball, and its types, installed together with each framework and each optional peer. */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { uploadFile } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { TestClient } from '../support/client.ts'
import { Program } from '../support/program.ts'
import { uploadServer } from '../support/server.ts'
import { markdownFiles, trackedFiles } from './markdown.ts'
import { list, Project, pack, root, sharedDirectory } from './package.ts'
import { brokenLinks } from './page-checks.ts'

const run = promisify(execFile)

let tarball = ''
/** A project with the package, its dependencies, and the types of Node. */
let bare: Project
/** The same with the frameworks, the optional peers, and their types. */
let full: Project
sharedDirectory(async (directory) => {
  const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  const withVersion = (name: string): string => `${name}@${devDependencies[name]}`
  tarball = await pack(directory, { rebuild: true })
  bare = new Project(join(directory, 'bare'))
  await bare.install([tarball, '@types/node@20'])
  full = new Project(join(directory, 'full'))
  await full.install([
    tarball,
    ...['express@5', 'express4@npm:express@4', 'connect@3', '@types/express@5', '@types/node@20'],
    ...[withVersion('@azure/storage-blob'), withVersion('@aws-sdk/client-s3')],
  ])
})

const expressServer = (express: string) => `
import express from '${express}'
import { bitsUpload } from 'express-bits-upload'

const store = './incoming'
const app = express()
app.use('/upload', bitsUpload({ store }))
const server = app.listen(process.env.PORT, () => {
  console.log('http://localhost:' + server.address().port + '/upload/')
})
`
const connectServer = `
import { createServer } from 'node:http'
import connect from 'connect'
import { bitsUpload } from 'express-bits-upload'

const store = './incoming'
const app = connect()
app.use('/upload', bitsUpload({ store }))
const server = createServer(app).listen(process.env.PORT, () => {
  console.log('http://localhost:' + server.address().port + '/upload/')
})
`
const commonServer = `
const express = require('express')
const { bitsUpload } = require('express-bits-upload')

const app = express()
app.use('/upload', bitsUpload({ store: './incoming' }))
const server = app.listen(process.env.PORT, () => {
  console.log('http://localhost:' + server.address().port + '/upload/')
})
`

describe('the installed package', () => {
  it.each([
    ['Express 5', 'server.mjs', expressServer('express')],
    ['Express 4', 'server.mjs', expressServer('express4')],
    ['Connect', 'server.mjs', connectServer],
    ['require() and Express 5', 'server.cjs', commonServer],
  ])('receives a file with %s', async (_, name, server) => {
    const directory = await full.folder({ [name]: server })
    const program = new Program([process.execPath, name], { cwd: directory })
    const file = noise(30_000)
    await uploadFile(new TestClient(new URL('a.bin', await program.url())), file)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
  })

  it.each([
    ['azure', 'azureStore', '@azure/storage-blob'],
    ['s3', 's3Store', '@aws-sdk/client-s3'],
  ])('imports the SDK of the store on %s from the application', async (path, name, sdk) => {
    const lines = [
      `import { ${name} } from 'express-bits-upload/${path}'`,
      `try { ${name}({}) } catch (error) { console.log(error.message) }`,
    ]
    const store = { 'store.mjs': lines.join('\n') }
    const without = run(process.execPath, ['store.mjs'], { cwd: await bare.folder(store) })
    await expect(without).rejects.toThrow(`Cannot find package '${sdk}'`)
    const { stdout } = await run(process.execPath, ['store.mjs'], { cwd: await full.folder(store) })
    expect(stdout).toContain(`of '${sdk}'`)
  })

  it('runs with its own dependencies only', async () => {
    const script = `import('express-bits-upload').then((all) => console.log(Object.keys(all).sort().join()))`
    const { stdout, stderr } = await run(process.execPath, ['-e', script], { cwd: bare.directory })
    expect(stdout.trim()).toBe(
      'BitsError,acceptBitsPost,bitsUpload,fileStore,memoryStore,mount,notifyApplication',
    )
    expect(stderr).toBe('')
  })

  it('installs at most 30 packages, with itself, for an application that needs no optional peer', async () => {
    const lock = await readFile(join(bare.directory, 'node_modules/.package-lock.json'), 'utf8')
    const typesOfNode = ['node_modules/@types/node', 'node_modules/undici-types']
    const paths = Object.keys(JSON.parse(lock).packages).filter((path) => !typesOfNode.includes(path))
    expect(paths).toContain('node_modules/express-bits-upload')
    expect(paths.length, paths.join(' ')).toBeLessThanOrEqual(30)
  })

  it.each([
    ['import', 'client.mjs', "import { uploadFile } from 'express-bits-upload/client'"],
    ['require()', 'client.cjs', "const { uploadFile } = require('express-bits-upload/client')"],
  ])('sends a file with its client, loaded with %s', async (_, name, line) => {
    const { url, directory } = await uploadServer()
    const script = `${line}
uploadFile('a.bin', process.argv[2], { job: 'a.job' }).then(({ size }) => console.log(size))
`
    const cwd = await bare.folder({ [name]: script })
    const file = noise(30_000)
    await writeFile(join(cwd, 'a.bin'), file)
    const args = [name, new URL('a.bin', url).href]
    // stderr is not checked: Node 20 prints a warning about require() there.
    expect((await run(process.execPath, args, { cwd })).stdout).toBe('30000\n')
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })
})

it('the tarball: contains the library, the examples and the pages only', async () => {
  const paths = await list(tarball)
  // npm leaves out files with the name .gitignore.
  const examples = trackedFiles.filter((path) => path.startsWith('examples/') && !path.endsWith('.gitignore'))
  const others = paths.filter((path) => !path.startsWith('dist/'))
  expect(others.sort()).toEqual(
    [
      ...examples,
      ...['cli', 'client', 'locks', 'protocol', 'stores', 'stores/object'].map(
        (folder) => `lib/${folder}/README.md`,
      ),
      'lib/README.md',
      'test/README.md',
      'test/bench/README.md',
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'package.json',
    ].sort(),
  )
  expect(paths).toContain('dist/index.js')
  // Each module has a declaration file. There are no maps, sources or tests.
  const modules = paths.filter((path) => path.startsWith('dist/') && path.endsWith('.js'))
  const types = paths.filter((path) => path.startsWith('dist/') && path.endsWith('.d.ts'))
  expect(types.map((path) => path.replace(/\.d\.ts$/, '.js')).sort()).toEqual(modules.sort())
  expect(paths.length).toBe(modules.length + types.length + others.length)
})

it('the tarball: contains the files that its pages link to, except sources of the library and of tests', async () => {
  const packed = await list(tarball)
  const pages = markdownFiles.filter(({ path }) => packed.includes(path))
  expect(pages.length).toBeGreaterThan(15)
  const sources = trackedFiles.filter((path) => /^(?:lib|test)\/.*\.(?:ts|mjs)$/.test(path))
  const broken = pages.flatMap((page) =>
    brokenLinks(page, pages, page.path === 'README.md' ? packed : [...packed, ...sources]),
  )
  expect(broken).toEqual([])
})

it('package.json: has the fields that npm and bundlers read', async () => {
  const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  expect(manifest).toMatchObject({
    name: 'express-bits-upload',
    license: 'MIT',
    type: 'module',
    engines: { node: '>=20.19' },
    sideEffects: false,
    exports: {
      '.': { types: './dist/index.d.ts', default: './dist/index.js' },
      './client': { types: './dist/client/index.d.ts', default: './dist/client/index.js' },
      './azure': { types: './dist/stores/object/azure.d.ts', default: './dist/stores/object/azure.js' },
      './s3': { types: './dist/stores/object/s3.d.ts', default: './dist/stores/object/s3.js' },
      './testing': { types: './dist/testing/index.d.ts', default: './dist/testing/index.js' },
    },
  })
  // npm does not install optional peers, which only some applications need.
  const peers = Object.keys(manifest.peerDependencies)
  expect(Object.keys(manifest.peerDependenciesMeta)).toEqual(peers)
  for (const peer of peers) expect(manifest.peerDependenciesMeta[peer]).toEqual({ optional: true })
})

/** Compiles files in a TypeScript project that has the package installed; returns the compiler's output. */
async function compile(
  project: Project,
  files: Record<string, string>,
  options: Record<string, unknown> = {},
): Promise<string> {
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    types: ['node'],
    strict: true,
    noEmit: true,
    ...options,
  }
  const directory = await project.folder({ ...files, 'tsconfig.json': JSON.stringify({ compilerOptions }) })
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, '-p', directory]).catch((error) => error)
  return stdout
}

describe('the type declarations', () => {
  /** Compiles a file with the strictest options, and checks the declarations of dependencies. */
  const check = (project: Project, source: string): Promise<string> =>
    compile(project, { 'app.mts': source }, { exactOptionalPropertyTypes: true, skipLibCheck: false })

  it('give hooks the Request of Express', async () => {
    const source = `
import express, { type Request } from 'express'
import { BitsError, bitsUpload } from 'express-bits-upload'

const upload = bitsUpload<Request>({
  store: './incoming',
  authorize: (request, packet) => packet.type === 'Ping' || request.ip,
  onCreate: ({ name }, request) => {
    if (request.query.check) throw new BitsError('access-denied', 'Not ' + name)
    return { name: 'logs/' + name, metadata: { agent: request.get('user-agent') ?? '' } }
  },
  async onUpload(upload, request) {
    for await (const chunk of upload.read()) console.log(chunk, request.hostname)
  },
})
upload.events.on('uploaded', ({ name, received }) => console.log(name.toUpperCase(), received.toFixed()))
express().use('/upload', upload)

// The type is also inferred from a hook.
express().use(bitsUpload({ store: 'a', authorize: (request: Request) => request.ip }))

// @ts-expect-error: there is no such option
bitsUpload({ store: 'a', maxsize: 1 })
// @ts-expect-error: there is no such event
upload.events.on('done', () => {})
`
    expect(await check(full, source)).toBe('')
  })

  it('need only the types of Node', async () => {
    const source = `
import { createServer } from 'node:http'
import { acceptBitsPost, bitsUpload, fileStore, memoryStore, type Store } from 'express-bits-upload'

const store: Store = Math.random() < 0.5 ? memoryStore({ capacity: 1024 }) : fileStore('./incoming')
const upload = bitsUpload({ store, maxSize: '1gb', authorize: ({ headers }) => headers.authorization })
const server = createServer((request, response) => upload(request, response, () => response.end()))
acceptBitsPost(server)
const { expired } = await upload.sweep()
console.log(expired.toFixed())
await upload.close({ grace: 100 })

// @ts-expect-error: a store is required
bitsUpload({})
`
    expect(await check(bare, source)).toBe('')
  })

  it('accept the test runner of Node in storeSuite', async () => {
    const source = `
import { describe, it } from 'node:test'
import { memoryStore, type Session } from 'express-bits-upload'
import { storeSuite, type StoreFixture } from 'express-bits-upload/testing'

const open = async (): Promise<StoreFixture> => {
  const store = memoryStore()
  return {
    store,
    published: async (name, first = 0) => store.files.get(name)?.subarray(first),
    loseBytes: async (session: Session) => console.log(session.received.toFixed()),
  }
}
storeSuite({ describe, it }, open, { restart: false, sharing: false })

// @ts-expect-error: there is no such feature
storeSuite({ describe, it }, open, { restarts: false })
// @ts-expect-error: published() is required
storeSuite({ describe, it }, () => ({ store: memoryStore() }))
`
    expect(await check(bare, source)).toBe('')
  })

  it('describe the options and results of the client', async () => {
    const source = `
import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import {
  cancelUpload,
  UploadError,
  type UploadErrorCode,
  type UploadOptions,
  type UploadProgress,
  type UploadSource,
  uploadFile,
} from 'express-bits-upload/client'

const options: UploadOptions = {
  auth: { user: 'me', password: 'secret' },
  tls: { ca: 'x', rejectUnauthorized: true },
  maxFragmentSize: '1mb',
  reply: createWriteStream('reply'),
  signal: AbortSignal.timeout(1000),
  onProgress: ({ state, timeLeft, error }: UploadProgress) => console.log(state, timeLeft.toFixed(), error?.message),
}
const source: UploadSource = { size: 5, version: '1', read: (start, end) => Readable.from([Buffer.alloc(end - start)]) }
try {
  const { size, sessionId, reply } = await uploadFile(source, new URL('http://127.0.0.1/'), options)
  console.log(size.toFixed(), sessionId.length, reply?.data?.byteLength)
} catch (error) {
  const code: UploadErrorCode = error instanceof UploadError ? error.code : 'refused'
  console.log(code)
}
await cancelUpload('a.job', { noProgressTimeout: 0 })

// @ts-expect-error: a stream has no known size
await uploadFile(Readable.from([]), 'http://127.0.0.1/')
// @ts-expect-error: there is no such option
await uploadFile('a', 'http://127.0.0.1/', { retrydelay: 1 })
`
    expect(await check(bare, source)).toBe('')
  })
})
