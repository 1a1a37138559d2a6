import { readFileSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { bitsUpload } from '../../lib/index.ts'
import { readBitsUploadOptions } from '../../lib/middleware/options.ts'
import { root } from './package.ts'
import { code, namesInError, readPage, rows, unknownOption } from './page.ts'

const { text: readme, section } = readPage('README.md')

describe('the tables of README.md', () => {
  it('list every option of bitsUpload(), and no others', () => {
    const known = namesInError(() => bitsUpload(unknownOption))
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
})

describe('README.md', () => {
  it('has at most 15,000 bytes', () => {
    expect(Buffer.byteLength(readme)).toBeLessThanOrEqual(15_000)
  })

  it('says in its first forty lines what was verified and what was not', () => {
    const first = readme.split('\n').slice(0, 40).join('\n')
    expect(first).toContain('**Verified**')
    expect(first).toContain('**Not verified yet:** no Windows client')
  })
})

it('Pages: name only test files and folders that exist', async () => {
  const names = await Promise.all(
    ['examples', 'lib', 'test'].map(async (folder) =>
      (await readdir(join(root, folder), { recursive: true }))
        .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
        .map((name) => join(folder, name)),
    ),
  )
  const pages = ['README.md', 'SECURITY.md', ...names.flat()]
  expect(pages.length).toBeGreaterThan(12)
  const named = pages.flatMap((page) =>
    [...readFileSync(join(root, page), 'utf8').matchAll(/`(test\/[\w./-]*[\w/])/g)].map(
      ([, path = '']) => path,
    ),
  )
  expect(named.length).toBeGreaterThan(60)
  for (const path of new Set(named)) await expect(stat(join(root, path)), path).resolves.toBeDefined()
})

describe('test/README.md', () => {
  const { text: guide, section } = readPage('test/README.md')

  it('names tests for each promise', () => {
    const promises = rows(section('Promises'))
    expect(promises.length).toBeGreaterThan(10)
    for (const [promise, tests = ''] of promises) expect(tests, promise).toMatch(/`test\/.+`/)
  })

  it('lists every folder of tests that lib does not have', async () => {
    const foldersOf = async (path: string): Promise<string[]> => {
      const entries = await readdir(join(root, path), { withFileTypes: true })
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
    }
    const lib = await foldersOf('lib')
    const listed = rows(section('Folders')).map(([name]) => code(name))
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
