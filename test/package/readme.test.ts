import { readFileSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { uploadErrorCodes } from '../../lib/client/errors.ts'
import { readCancelOptions, readUploadOptions } from '../../lib/client/options.ts'
import { BitsError, type BitsErrorCode, bitsUpload, fileStore, notifyApplication } from '../../lib/index.ts'
import { readBitsUploadOptions } from '../../lib/middleware/options.ts'
import { azureStore } from '../../lib/stores/object/azure.ts'
import { s3Store } from '../../lib/stores/object/s3.ts'
import { root } from './package.ts'
import { blocks, code, readme, rows, section } from './readme.ts'

/** The names that the error text of a mistake lists. */
function namesIn(mistake: () => unknown, pattern: RegExp): string[] {
  try {
    mistake()
  } catch (error) {
    return (pattern.exec(String(error))?.[1] ?? '').split(', ')
  }
  throw new Error('There is no mistake')
}

/** An option that does not exist, as an argument of any type. */
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

describe('the tables of README.md', () => {
  it('list every option of bitsUpload(), and no others', () => {
    const known = namesIn(() => bitsUpload(unknown), /the options are (.*)/)
    const told = rows(section('Options')).map(([name]) => code(name))
    expect(told).toEqual(known)
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
    const told = rows(section('Options')).filter(([, , standard]) => words.has(String(standard)))
    expect(told).toHaveLength(10)
    expect(readBitsUploadOptions({ store: 'incoming' })).toMatchObject(
      Object.fromEntries(told.map(([name, , standard]) => [code(name), words.get(String(standard))])),
    )
  })

  it('list every option of azureStore() and s3Store(), and no others', () => {
    const told = rows(section('Object services')).map(([name, , , of]) => [of, code(name)])
    const optionsOf = (engine: string) =>
      told.flatMap(([of, name]) => (of === engine || of === 'both' ? [name] : [])).sort()
    expect(optionsOf('Azure')).toEqual(namesIn(() => azureStore(unknown), /the options are (.*)/).sort())
    expect(optionsOf('S3')).toEqual(namesIn(() => s3Store(unknown), /the options are (.*)/).sort())
  })

  it('list every IIS property, as does the script that reads them', () => {
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

  it('name, for each IIS property, an existing option of the named function', () => {
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

  it('pair IIS properties and options the same way in each table', () => {
    const there = [...rows(section('Options')), ...rows(section('Replies'))].flatMap(
      ([option, , , iis = '']) => (iis.match(/BITS\w+/g) ?? []).map((name) => `${name}: ${code(option)}`),
    )
    expect(there).toHaveLength(13)
    const here = properties.flatMap(({ name, options }) =>
      options.map(({ option, of }) => `${name}: ${of === 'hostId' ? of : option}`),
    )
    expect(here).toEqual(expect.arrayContaining(there))
  })

  it('state the same default in each table', () => {
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

  it('list every error code with its status and HRESULT', () => {
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

  it('list every option of the client with its default, and no others', () => {
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

  it('list every error code of the client, and no others', () => {
    const told = rows(section('Errors of the client')).map(([name]) => code(name))
    expect(told).toEqual(uploadErrorCodes)
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
    const named = new Set([...guide.matchAll(/\.ci\/\w+/g)].map(([path]) => path))
    for (const path of named) await expect(stat(join(root, path)), path).resolves.toBeDefined()
  })
})
