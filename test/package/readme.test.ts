import { readFileSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it } from 'vitest'
import { uploadErrorCodes } from '../../lib/client/errors.ts'
import { readCancelOptions, readUploadOptions } from '../../lib/client/options.ts'
import {
  BitsError,
  type BitsErrorCode,
  bitsUpload,
  fileStore,
  memoryStore,
  notifyApplication,
} from '../../lib/index.ts'
import { readBitsUploadOptions } from '../../lib/middleware/options.ts'
import { azureStore } from '../../lib/stores/object/azure.ts'
import { s3Store } from '../../lib/stores/object/s3.ts'
import { send } from '../support/client.ts'
import { listen } from '../support/server.ts'
import { root } from './package.ts'
import { blocks, code, readPage, rows } from './page.ts'

const { text: readme, section } = readPage('README.md')

/** The list of names in the text of the error that `call` throws. */
function namesInError(call: () => unknown, pattern: RegExp): string[] {
  try {
    call()
  } catch (error) {
    return (pattern.exec(String(error))?.[1] ?? '').split(', ')
  }
  throw new Error('The call did not throw')
}

/** An option that does not exist, as an argument of any type. */
const unknown = { 'no such option': 1 } as never

/** The rows of the table of IIS properties. */
const properties = rows(section('IIS properties')).map(([name = '', , here = '', standard = '']) => ({
  name,
  /** The corresponding options: `overwrite`, `sweepEvery: 0`, or `url` of `notifyApplication`. */
  options: [...here.matchAll(/`(\w+)(?:: \w+)?`(?: of `(\w+)`)?/g)].map(
    ([, option = '', of = 'bitsUpload']) => ({
      option,
      of,
    }),
  ),
  standard,
}))

describe('the tables of README.md', () => {
  it('list every option of bitsUpload(), and no others', () => {
    const known = namesInError(() => bitsUpload(unknown), /the options are (.*)/)
    const listed = rows(section('Options')).map(([name]) => code(name))
    expect(listed).toEqual(known)
  })

  it('state the defaults of the library', () => {
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
    const listed = rows(section('Options')).filter(([, , standard]) => words.has(String(standard)))
    expect(listed).toHaveLength(10)
    expect(readBitsUploadOptions({ store: 'incoming' })).toMatchObject(
      Object.fromEntries(listed.map(([name, , standard]) => [code(name), words.get(String(standard))])),
    )
  })

  it('list every option of azureStore() and s3Store(), and no others', () => {
    const listed = rows(section('Object services')).map(([name, , , of]) => [of, code(name)])
    const optionsOf = (engine: string) =>
      listed.flatMap(([of, name]) => (of === engine || of === 'both' ? [name] : [])).sort()
    expect(optionsOf('Azure')).toEqual(namesInError(() => azureStore(unknown), /the options are (.*)/).sort())
    expect(optionsOf('S3')).toEqual(namesInError(() => s3Store(unknown), /the options are (.*)/).sort())
  })

  it('list every IIS property, as does the script that reads them', () => {
    // https://learn.microsoft.com/en-us/windows/win32/bits/bits-iis-extension-properties, and two that are
    // not listed there.
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

  it('name, for each IIS property, an existing option of the named function', () => {
    const known: Record<string, readonly string[]> = {
      bitsUpload: namesInError(() => bitsUpload(unknown), /the options are (.*)/),
      hostId: namesInError(() => bitsUpload({ store: 'x', hostId: unknown }), /the hostId options are (.*)/),
      fileStore: namesInError(() => fileStore('x', unknown), /the options are (.*)/),
      notifyApplication: namesInError(() => notifyApplication(unknown), /the options are (.*)/),
    }
    for (const { name, options } of properties) {
      if (name !== 'BITSUploadMetadataVersion') expect(options, name).not.toEqual([])
      for (const { option, of } of options) expect(known[of], name).toContain(option)
    }
  })

  it('pair IIS properties and options the same way in each table', () => {
    const expected = [...rows(section('Options')), ...rows(section('Replies'))].flatMap(
      ([option, , , iis = '']) => (iis.match(/BITS\w+/g) ?? []).map((name) => `${name}: ${code(option)}`),
    )
    expect(expected).toHaveLength(13)
    const pairs = properties.flatMap(({ name, options }) =>
      options.map(({ option, of }) => `${name}: ${of === 'hostId' ? of : option}`),
    )
    expect(pairs).toEqual(expect.arrayContaining(expected))
  })

  it('state the same default in each table', () => {
    const defaults = new Map(
      rows(section('Options')).map(([option, , standard = '']) => [code(option), standard]),
    )
    let compared = 0
    for (const { name, options, standard } of properties) {
      const [first] = options
      const expected = defaults.get((first?.of === 'hostId' ? first.of : first?.option) ?? '')
      if (standard === '' || expected === undefined) continue
      expect(expected, name).toContain(standard)
      compared += 1
    }
    expect(compared).toBe(11)
  })

  it('list every error code with its status and HRESULT', () => {
    const known = namesInError(() => new BitsError('' as BitsErrorCode), /the codes are (.*)/)
    const listed = rows(section('Errors')).map(([name, , status, hresult]) => [code(name), status, hresult])
    const hex = (hresult: number | undefined) =>
      hresult === undefined ? '' : `0x${hresult.toString(16).toUpperCase().padStart(8, '0')}`
    const expected = known.map((name) => {
      const { status, hresult } = new BitsError(name as BitsErrorCode)
      return [name, String(status), hex(hresult)]
    })
    expect(listed.sort()).toEqual(expected.sort())
  })

  it('list every option of the client with its default, and no others', () => {
    const named = (read: (options: object) => unknown) =>
      namesInError(() => read({ 'no such option': 1 }), /the options are (.*)/)
    const listed = rows(section('Options of the client')).map(([name, , standard]) => [code(name), standard])
    const names = listed.map(([name]) => name)
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
      listed
        .filter(([, standard]) => words.has(standard))
        .map(([name, standard]) => [name, words.get(standard)]),
    )
    expect(Object.keys(defaults)).toHaveLength(listed.length - 1)
    expect({ ...readUploadOptions({}), headers: undefined }).toEqual({ ...defaults, tls: {} })
    expect(readCancelOptions({}).noProgressTimeout).toBe(24 * 3_600_000)
  })

  it('list every error code of the client, and no others', () => {
    const listed = rows(section('Errors of the client')).map(([name]) => code(name))
    expect(listed).toEqual(uploadErrorCodes)
  })

  it('name only example files that exist', async () => {
    const names = readme.match(/examples\/[\w-]+\.ts|`[\w-]+\.ts`/g) ?? []
    expect(names.length).toBeGreaterThan(6)
    for (const name of names) {
      const path = name.startsWith('`') ? `examples/${name.replaceAll('`', '')}` : name
      await expect(readFile(join(root, path))).resolves.toBeDefined()
    }
  })
})

describe('the section Timeouts of README.md', () => {
  const advice = section('Timeouts and body parsers').replace(/\s+/g, ' ')

  it('says why idle connections are kept for 125 seconds', () => {
    expect(advice).toMatch(/`server\.keepAliveTimeout`, 5 seconds by default.*load balancer.*125 seconds/)
    expect(advice).toContain('`server.headersTimeout` above that')
  })

  it('says how an app accepts header fields of 48 KB, which is so', async () => {
    expect(advice).toContain('`createServer({ maxHeaderSize: 65_536 }, app)`')
    const app = express().use('/upload', bitsUpload({ store: memoryStore() }))
    const headers = { Authorization: `Negotiate ${'x'.repeat(48 * 1024)}` }
    const statusOf = async (server: Server) => {
      const url = await listen(server)
      return (await send(new URL('upload/a.bin', url), 'Ping', { headers })).status
    }
    expect(await statusOf(createServer(app))).toBe(431)
    expect(await statusOf(createServer({ maxHeaderSize: 65_536 }, app))).toBe(200)
  })
})

describe('test/README.md', () => {
  const guide = readFileSync(join(root, 'test/README.md'), 'utf8')
  const security = readFileSync(join(root, 'SECURITY.md'), 'utf8')

  it('lists the promises of README.md', () => {
    const promises = [...section('Promises').matchAll(/^- (.*)$/gm)].map(([, promise]) => promise)
    expect(promises.length).toBeGreaterThan(10)
    const [, , , table = ''] = guide.split(/^\| -.*\|$/m).slice(1)
    const listed = [...table.matchAll(/^\| (.*?) +\| `/gm)].map(([, promise]) => promise)
    expect(listed).toEqual(promises)
  })

  it('names only test files and folders that exist, as do README.md and SECURITY.md', async () => {
    const namedIn = (text: string) => [...text.matchAll(/\btest\/[\w./-]*[\w/]/g)].map(([path]) => path)
    expect(namedIn(`${guide}${readme}`).length).toBeGreaterThan(30)
    expect(namedIn(security).length).toBeGreaterThan(20)
    const named = new Set(namedIn(`${guide}${readme}${security}`))
    for (const path of named) await expect(stat(join(root, path)), path).resolves.toBeDefined()
  })

  it('lists every folder of tests that lib does not have', async () => {
    const foldersOf = async (path: string): Promise<string[]> => {
      const entries = await readdir(join(root, path), { withFileTypes: true })
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
    }
    const lib = await foldersOf('lib')
    const [, , table = ''] = guide.split(/^\| -.*\|$/m).slice(1)
    const listed = [...(table.split('\n\n')[0]?.matchAll(/^\| `(\w+)`/gm) ?? [])].map(([, name]) => name)
    const own = (await foldersOf('test')).filter((name) => !lib.includes(name) || name === 'testing')
    expect(listed.sort()).toEqual(own.sort())
  })

  it('names npm scripts and scripts of .ci that exist', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    for (const [, name = ''] of guide.matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty([name])
    const named = new Set([...guide.matchAll(/\.ci\/[\w-]+/g)].map(([path]) => path))
    for (const path of named) await expect(stat(join(root, path)), path).resolves.toBeDefined()
  })
})
