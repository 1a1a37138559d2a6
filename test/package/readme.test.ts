import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { uploadErrorCodes } from '../../lib/client/errors.ts'
import { readCancelOptions, readUploadOptions } from '../../lib/client/options.ts'
import { BitsError, type BitsErrorCode, bitsUpload, fileStore, notifyApplication } from '../../lib/index.ts'
import { readOptions } from '../../lib/options.ts'
import { azureStore } from '../../lib/stores/azure.ts'
import { s3Store } from '../../lib/stores/s3.ts'
import { environment, Program } from '../support/program.ts'
import { install, packed, project, root } from './package.ts'
import { blocks, code, readme, rows, section } from './readme.ts'

const run = promisify(execFile)

/** Installing takes as long as the registry does. */
const timeout = 180_000

const tarball = packed()

describe('as a newcomer types it', () => {
  it('the quick start runs, and the upload by hand arrives', { timeout }, async () => {
    const [npmInstall, start, ...rest] = blocks(section('Quick start'), 'sh').map((text) => text.trim())
    const [server] = blocks(section('Quick start'), 'js')
    expect(npmInstall).toMatch(/^npm install [\w -]+$/)
    expect(start).toBe('node server.mjs')
    expect(rest).toHaveLength(1)

    // The tarball stands for the name that npm does not know before it is published.
    const packages = String(npmInstall).split(' ').slice(2)
    const directory = await project([], { 'server.mjs': String(server) })
    await install(
      directory,
      packages.map((name) => (name === 'express-bits-upload' ? tarball() : name)),
    )
    const program = new Program(['sh', '-c', `exec ${start}`], { cwd: directory })
    const { host } = await program.url()

    const [byHand = ''] = blocks(section('An upload by hand'), 'sh')
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
  })

  it('the commands for a clone are there', async () => {
    const commands = blocks(section('Quick start'), 'sh')
      .at(-1)
      ?.match(/npm \w+/g)
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    expect(commands).toEqual(['npm ci', 'npm start', 'npm cit'])
    expect(scripts).toMatchObject({ start: expect.any(String), test: expect.any(String) })
  })

  it('every other example is TypeScript that compiles', { timeout }, async () => {
    const prelude = `
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import type { Server } from 'node:net'
import type { Readable } from 'node:stream'
import type { Express, Request, RequestHandler } from 'express'
import type { Acceptance, AppendOptions, Body, KeptReply, NewSession, Session } from 'express-bits-upload'
import { acceptBitsPost, BitsError, bitsUpload, fileStore, memoryStore, notifyApplication } from 'express-bits-upload'

declare const app: Express
declare const authenticate: RequestHandler
declare const gateway: Server
declare const blocked: Set<string>
declare function inspect(bytes: Readable): Promise<object>
declare function signIn(authorization: string | undefined): Promise<{ name: string } | undefined>
`
    // What the page calls the interface of stores is what stores are, and what is taken for one.
    const outline = `
memoryStore() satisfies Store
declare const store: Store
bitsUpload({ store })
`
    const sources = blocks(readme, 'ts').map((source) => {
      // What imports for itself is a whole program.
      if (source.startsWith('import ')) return source
      return prelude + source + (source.startsWith('interface Store') ? outline : '')
    })
    expect(sources.length).toBeGreaterThan(5)
    expect(sources.filter((source) => source.endsWith(outline))).toHaveLength(1)
    const packages = [
      ...['express@5', '@types/express@5', '@types/node@20'],
      ...['@azure/identity@4', '@azure/storage-blob@12.32', '@aws-sdk/client-s3@3'],
    ]
    const directory = await project([...packages, tarball()], {
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          module: 'nodenext',
          target: 'es2023',
          types: ['node'],
          strict: true,
          noEmit: true,
        },
      }),
    })
    await Promise.all(sources.map((source, i) => writeFile(join(directory, `${i}.mts`), source)))
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const { stdout } = await run(process.execPath, [tsc, '-p', directory]).catch((error) => error)
    expect(stdout).toBe('')
  })
})

/** The names in the text that a mistake is answered with. */
function namesIn(mistake: () => unknown, pattern: RegExp): string[] {
  try {
    mistake()
  } catch (error) {
    return (pattern.exec(String(error))?.[1] ?? '').split(', ')
  }
  throw new Error('There is no mistake')
}

/** An option that nobody has, as an argument of any type. */
const unknown = { 'no such option': 1 } as never

/** What the page says of a property of IIS. */
const properties = rows(section('IIS properties')).map(([name = '', , here = '', standard = '']) => ({
  name,
  /** The options that stand for it: `overwrite`, `sweepEvery: 0`, or `url` of `notifyApplication`. */
  options: [...here.matchAll(/`(\w+)(?:: \w+)?`(?: of `(\w+)`)?/g)].map(
    ([, option = '', of = 'bitsUpload']) => ({
      option,
      of,
    }),
  ),
  standard,
}))

describe('what its tables say is so', () => {
  it('all options are there, and no others', () => {
    const known = namesIn(() => bitsUpload(unknown), /the options are (.*)/)
    const told = rows(section('Options')).map(([name]) => code(name))
    expect(told).toEqual(known)
  })

  it('the defaults are those of the library', () => {
    const words = new Map<string, unknown>([
      ["`'10gb'`", 10 * 1024 ** 3],
      ['`maxSize`', 10 * 1024 ** 3],
      ['10000', 10_000],
      ['50', 50],
      ['`false`', false],
      ['14 days', 14 * 24 * 3_600_000],
      ['12 hours', 12 * 3_600_000],
      ['2 minutes', 120_000],
      ["`'last-fragment'`", 'last-fragment'],
      ['200', 200],
    ])
    const told = rows(section('Options')).filter(([, , standard]) => words.has(String(standard)))
    expect(told).toHaveLength(10)
    expect(readOptions({ store: 'incoming' })).toMatchObject(
      Object.fromEntries(told.map(([name, , standard]) => [code(name), words.get(String(standard))])),
    )
  })

  it('the options of the stores on object services are there, and no others', () => {
    const told = rows(section('Object services')).map(([name, , , of]) => [of, code(name)])
    const optionsOf = (engine: string) =>
      told.flatMap(([of, name]) => (of === engine || of === 'both' ? [name] : [])).sort()
    expect(optionsOf('Azure')).toEqual(namesIn(() => azureStore(unknown), /the options are (.*)/).sort())
    expect(optionsOf('S3')).toEqual(namesIn(() => s3Store(unknown), /the options are (.*)/).sort())
  })

  it('all properties of IIS are there, and the script that looks them up asks for them', () => {
    // https://learn.microsoft.com/en-us/windows/win32/bits/bits-iis-extension-properties, and two that are not there.
    const names = [
      'BITSUploadEnabled',
      'BITSSessionTimeout',
      'BITSMaximumUploadSize',
      'BITSServerNotificationType',
      'BITSServerNotificationURL',
      'BITSHostId',
      'BITSHostIdFallbackTimeout',
      'BITSAllowOverwrites',
      'BITSCleanupUseDefault',
      'BITSCleanupCount',
      'BITSCleanupUnits',
      'BITSNumberOfSessionsLimit',
      'BITSSessionLimitEnable',
      'BITSSessionDirectory',
      'BITSUploadMetadataVersion',
    ]
    expect(properties.map(({ name }) => name)).toEqual(names)
    const [script = ''] = blocks(section('Moving from IIS'), 'js')
    expect(script.match(/BITS\w+/g)).toEqual(names)
  })

  it('what stands for a property of IIS is an option of the very function that it is said to be of', () => {
    const known: Record<string, readonly string[]> = {
      bitsUpload: namesIn(() => bitsUpload(unknown), /the options are (.*)/),
      hostId: namesIn(() => bitsUpload({ store: 'x', hostId: unknown }), /the hostId options are (.*)/),
      fileStore: namesIn(() => fileStore('x', unknown), /the options are (.*)/),
      notifyApplication: namesIn(() => notifyApplication(unknown), /the options are (.*)/),
    }
    for (const { name, options } of properties) {
      if (name !== 'BITSUploadMetadataVersion') expect(options, name).not.toEqual([])
      for (const { option, of } of options) expect(known[of], name).toContain(option)
    }
  })

  it('of the properties of IIS the tables of options say the same', () => {
    const there = [...rows(section('Options')), ...rows(section('Replies'))].flatMap(
      ([option, , , iis = '']) => (iis.match(/BITS\w+/g) ?? []).map((name) => `${name}: ${code(option)}`),
    )
    expect(there).toHaveLength(13)
    const here = properties.flatMap(({ name, options }) =>
      options.map(({ option, of }) => `${name}: ${of === 'hostId' ? of : option}`),
    )
    expect(here).toEqual(expect.arrayContaining(there))
  })

  it('of defaults the tables say the same', () => {
    const standards = new Map(
      rows(section('Options')).map(([option, , standard = '']) => [code(option), standard]),
    )
    let compared = 0
    for (const { name, options, standard } of properties) {
      const [first] = options
      const there = standards.get((first?.of === 'hostId' ? first.of : first?.option) ?? '')
      if (standard === '' || there === undefined) continue
      expect(there, name).toContain(standard)
      compared += 1
    }
    expect(compared).toBe(11)
  })

  it('all errors are there, with their numbers', () => {
    const known = namesIn(() => new BitsError('' as BitsErrorCode), /the codes are (.*)/)
    const told = rows(section('Errors')).map(([name, , status, hresult]) => [code(name), status, hresult])
    const hex = (hresult: number | undefined) =>
      hresult === undefined ? '' : `0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
    const so = known.map((name) => {
      const { status, hresult } = new BitsError(name as BitsErrorCode)
      return [name, String(status), hex(hresult)]
    })
    expect(told.sort()).toEqual(so.sort())
  })

  it("the client's options are there, and no others, with their defaults", () => {
    const named = (read: (options: object) => unknown) =>
      namesIn(() => read({ 'no such option': 1 }), /the options are (.*)/)
    const told = rows(section('Options of the client')).map(([name, , standard]) => [code(name), standard])
    const names = told.map(([name]) => name)
    expect(names.sort()).toEqual(named(readUploadOptions).sort())
    expect(names.slice(0)).toEqual(expect.arrayContaining(named(readCancelOptions)))
    const words = new Map<string | undefined, unknown>([
      ['none', undefined],
      ['memory', undefined],
      ['1 second', 1000],
      ['1 minute', 60_000],
      ['2 minutes', 120_000],
      ['5 minutes', 300_000],
      ['14 days; to cancel: 1 day', 14 * 24 * 3_600_000],
      ["`'1mb'` in memory, else `'10gb'`", 1024 ** 2],
      ["`'13mb'`", 13 * 1024 ** 2],
    ])
    const defaults = Object.fromEntries(
      told
        .filter(([, standard]) => words.has(standard))
        .map(([name, standard]) => [name, words.get(standard)]),
    )
    expect(Object.keys(defaults)).toHaveLength(told.length - 1)
    expect({ ...readUploadOptions({}), headers: undefined }).toEqual({ ...defaults, tls: {} })
    expect(readCancelOptions({}).noProgressTimeout).toBe(24 * 3_600_000)
  })

  it("the client's errors are there, and no others", () => {
    const told = rows(section('Errors of the client')).map(([name]) => code(name))
    expect(told).toEqual(uploadErrorCodes)
  })

  it('all files that it names are there', async () => {
    const names = readme.match(/examples\/[\w-]+\.ts|`[\w-]+\.ts`/g) ?? []
    expect(names.length).toBeGreaterThan(6)
    for (const name of names) {
      const path = name.startsWith('`') ? `examples/${name.replaceAll('`', '')}` : name
      await expect(readFile(join(root, path))).resolves.toBeDefined()
    }
  })
})
