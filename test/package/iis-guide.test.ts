/** Compares examples/iis/README.md with the library, and checks the files beside it, which need Windows or IIS. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { bitsUpload, fileStore, notifyApplication } from '../../lib/index.ts'
import { root } from './package.ts'
import { blocks, code, namesInError, readPage, rows, unknownOption } from './page.ts'

const { section } = readPage('examples/iis/README.md')
const options = rows(readPage('README.md').section('Options'))

const folder = join(root, 'examples/iis')
const fileText = (name: string): string => readFileSync(join(folder, name), 'utf8')

/**
 * https://learn.microsoft.com/en-us/windows/win32/bits/bits-iis-extension-properties, and two that are not
 * listed there.
 */
const propertyNames = [
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

/** The rows of the table of properties. */
const properties = rows(section('Properties')).map(([name = '', , here = '', standard = '']) => ({
  name,
  /** The corresponding options: `overwrite`, `sweepEvery: 0`, or `url` of `notifyApplication`. */
  options: [...here.matchAll(/`(\w+)(?:: \w+)?`(?: of `(\w+)`)?/g)].map(
    ([, option = '', of = 'bitsUpload']) => ({ option, of }),
  ),
  standard,
}))

describe('the table of IIS properties', () => {
  it('lists every property', () => {
    expect(properties.map(({ name }) => name)).toEqual(propertyNames)
  })

  it('names, for each property, an existing option of the named function', () => {
    const known: Record<string, readonly string[]> = {
      bitsUpload: namesInError(() => bitsUpload(unknownOption)),
      hostId: namesInError(() => bitsUpload({ store: 'x', hostId: unknownOption })),
      fileStore: namesInError(() => fileStore('x', unknownOption)),
      notifyApplication: namesInError(() => notifyApplication(unknownOption)),
    }
    for (const { name, options } of properties) {
      if (name !== 'BITSUploadMetadataVersion') expect(options, name).not.toEqual([])
      for (const { option, of } of options) expect(known[of], name).toContain(option)
    }
  })

  it('pairs properties and options as the table of options does', () => {
    const expected = options.flatMap(([option, , , iis = '']) =>
      (iis.match(/BITS\w+/g) ?? []).map((name) => `${name}: ${code(option)}`),
    )
    expect(expected).toHaveLength(11)
    const pairs = properties.flatMap(({ name, options }) =>
      options.map(({ option, of }) => `${name}: ${of === 'hostId' ? of : option}`),
    )
    expect(pairs).toEqual(expect.arrayContaining(expected))
    expect(pairs).toEqual(
      expect.arrayContaining(['BITSServerNotificationType: mode', 'BITSServerNotificationURL: url']),
    )
  })

  it('states the defaults of the table of options', () => {
    const defaults = new Map(options.map(([option, , standard = '']) => [code(option), standard]))
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
})

describe('the page for administrators of IIS', () => {
  it('says in each section that depends on Windows or IIS that it was not run', () => {
    for (const heading of ['1. Read the settings of IIS', '3. Test with one machine', '4. Switch']) {
      expect(section(heading)).toContain('_Not run here')
    }
    for (const heading of ['Properties', 'Differences', 'Recipes']) {
      expect(section(heading).trimStart()).toMatch(/^_Not run here/)
    }
  })

  it('lists the recipes, and prints programs and configurations as in their files', () => {
    const listed = rows(section('Recipes')).map(([link]) => /\]\((.*)\)/.exec(link ?? '')?.[1])
    const files = readdirSync(folder).filter((name) => !/^README|\.ts$/.test(name))
    expect(listed.sort()).toEqual(files.sort())
    expect(blocks(section('2. Configure the new server'), 'ts')).toEqual([fileText('moved.ts')])
    const [excerpt = ''] = blocks(section('IIS as a reverse proxy'), 'xml')
    expect(excerpt.length).toBeGreaterThan(100)
    expect(fileText('web.config')).toContain(excerpt)
  })
})

it('Files for Windows: contain only ASCII, because Windows PowerShell and cmd read their own code pages', () => {
  for (const name of readdirSync(folder).filter((name) => !/\.(?:md|ts)$/.test(name))) {
    const others = [...fileText(name)].filter((character) => character > '\x7F')
    expect(others, name).toEqual([])
  }
})

describe('bits-properties.js', () => {
  const script = fileText('bits-properties.js')

  it('prints every property, and those that are not set, in a simulated Windows Script Host', () => {
    const printed: string[] = []
    const values: Record<string, unknown> = { BITSSessionTimeout: 604_800, BITSAllowOverwrites: 1 }
    const directory = {
      Get(name: string) {
        if (!(name in values)) throw new Error('0x80005006')
        return values[name]
      },
    }
    const paths: string[] = []
    runInNewContext(script, {
      GetObject: (path: string) => paths.push(path) && directory,
      WScript: { Echo: (...words: unknown[]) => printed.push(words.join(' ')) },
    })
    expect(paths).toEqual(['IIS://LocalHost/W3SVC/1/ROOT/upload'])
    expect(printed).toEqual(
      propertyNames.map((name) =>
        name in values ? `${name} = ${values[name]}` : `${name} is not set: 0x80005006`,
      ),
    )
  })

  it('is ECMAScript 3, which JScript runs', () => {
    const program = script.replace(/^\/\/.*|'[^'\n]*'/gm, '')
    expect(program).not.toMatch(/=>|`|,\s*[)\]}]|\b(?:let|const|class|import|export|async)\b/)
  })
})

describe('web.config', () => {
  const elementsAt = (path: string): Element[] =>
    readXml(fileText('web.config')).filter(
      (element) => element.path === `configuration/system.webServer/${path}`,
    )

  it('forwards the path below /upload/ to the server, unchanged', () => {
    const [match] = elementsAt('rewrite/rules/rule/match')
    const [action] = elementsAt('rewrite/rules/rule/action')
    expect(action?.attributes.type).toBe('Rewrite')
    // URL Rewrite matches the path without its first slash.
    const pattern = new RegExp(String(match?.attributes.url))
    const forward = (path: string) =>
      pattern.test(path) ? path.replace(pattern, String(action?.attributes.url).replace('{R:1}', '$1')) : path
    expect(forward('upload/a/b.bin')).toBe('http://localhost:8080/upload/a/b.bin')
    expect(forward('uploads/b.bin')).toBe('uploads/b.bin')
  })

  it('allows BITS_POST, and requests above the largest fragment of Windows', () => {
    const filter = 'security/requestFiltering'
    expect(elementsAt(`${filter}/verbs/add`)).toMatchObject([
      { attributes: { verb: 'BITS_POST', allowed: 'true' } },
    ])
    const [limits] = elementsAt(`${filter}/requestLimits`)
    expect(Number(limits?.attributes.maxAllowedContentLength)).toBe(2 ** 32 - 1)
  })
})

interface Element {
  /** The names of its ancestors and its own, separated by `/`. */
  readonly path: string
  readonly attributes: Readonly<Record<string, string>>
}

/** Reads XML without text; throws if it is not well-formed. */
function readXml(text: string): Element[] {
  const elements: Element[] = []
  const open: string[] = []
  const body = text.replace(/^<\?xml .*?\?>/, '').replace(/<!--(?:(?!--).)*-->/gs, '')
  const rest = body.replace(
    /<(?:\/([\w.]+)|([\w.]+)((?:\s+\w+="[^"<&]*")*)\s*(\/?))>/g,
    (_, end?: string, name = '', attributes = '', isEmpty = '') => {
      if (end !== undefined) {
        if (open.pop() !== end) throw new Error(`</${end}> is not expected`)
        return ''
      }
      const pairs = [...attributes.matchAll(/(\w+)="(.*?)"/g)].map(([, key, value]) => [key, value])
      elements.push({ path: [...open, name].join('/'), attributes: Object.fromEntries(pairs) })
      if (!isEmpty) open.push(name)
      return ''
    },
  )
  if (rest.trim() !== '' || open.length > 0) throw new Error(`Not well-formed: ${rest.trim()}${open}`)
  return elements
}

describe.each(['upload.ps1', 'collect-logs.ps1'])('%s', (name) => {
  const script = fileText(name)
  /** The script without comments and the text of its strings. */
  const bare = script.replace(/'[^'\n]*'/g, "''").replace(/^ *#.*/gm, '')

  it('closes every bracket and quotation mark', () => {
    const pairs: Record<string, string> = { ')': '(', ']': '[', '}': '{' }
    const open: string[] = []
    for (const character of bare) {
      if (Object.values(pairs).includes(character)) open.push(character)
      else if (character in pairs) expect(open.pop()).toBe(pairs[character])
    }
    expect(open).toEqual([])
    for (const line of bare.split('\n')) expect(line.split(/["']/).length % 2, line).toBe(1)
  })

  it('calls Start-BitsTransfer with parameters that it has', () => {
    // https://learn.microsoft.com/en-us/powershell/module/bitstransfer/start-bitstransfer
    const known =
      'Asynchronous Authentication CertHash CertStoreLocation CertStoreName Credential CustomHeaders ' +
      'CustomHeadersWriteOnly Description Destination DisplayName Dynamic HttpMethod MaxDownloadTime ' +
      'NotifyCmdLine NotifyFlags Priority ProxyAuthentication ProxyBypass ProxyCredential ProxyList ' +
      'ProxyUsage RetryInterval RetryTimeout SecurityFlags Source Suspended TransferPolicy TransferType ' +
      'UseStoredCredential'
    const calls = bare.match(/Start-BitsTransfer .*/g) ?? []
    const inCalls = calls.flatMap((call) => [...call.matchAll(/ -(\w+)/g)].map(([, parameter]) => parameter))
    const inTables = [...bare.matchAll(/^ {2}(\w+) += /gm)].map(([, parameter]) => parameter)
    expect(inTables.length).toBeGreaterThan(2)
    for (const parameter of [...inCalls, ...inTables]) expect(known.split(' ')).toContain(parameter)
  })
})

it('bitsadmin.cmd: each line is empty, a comment, or a command that BitsAdmin has', () => {
  // https://learn.microsoft.com/en-us/windows-server/administration/windows-commands/bitsadmin
  const known =
    'addfile cancel complete create geterror getreplydata getreplyfilename getreplyprogress getstate info ' +
    'resume setcredentials setminretrydelay setnotifycmdline setnotifyflags setreplyfilename'
  const commands = fileText('bitsadmin.cmd')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('@rem '))
    .map((line) => /^bitsadmin \/(\w+) .*\bexample\b/.exec(line)?.[1])
  expect(commands.length).toBeGreaterThan(10)
  for (const command of commands) expect(known.split(' ')).toContain(command)
})

it.each(['UploadReply.cs', 'upload-reply.cpp'])('%s: closes every bracket', (name) => {
  const program = fileText(name).replace(/@?"(?:[^"\\\n]|\\.)*"|\/\/.*/g, '""')
  for (const [opening, closing] of ['()', '{}']) {
    expect(program.split(opening ?? '').length).toBe(program.split(closing ?? '').length)
  }
})
