/**
 * Compiles every block of TypeScript and JavaScript in the markdown files, each as a module of its own, exactly as printed.
 * Nothing is added, so a block with a missing import fails. Imports of this package are those of the built package in `dist`.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type CodeBlock, type MarkdownFile, markdownFiles, trackedFiles } from './markdown.ts'
import { root } from './package.ts'

const run = promisify(execFile)

/** The file name extension of a module, by the language of the block. */
const extensions: Readonly<Record<string, string>> = {
  ts: 'mts',
  typescript: 'mts',
  mts: 'mts',
  js: 'mjs',
  javascript: 'mjs',
  mjs: 'mjs',
  cjs: 'cjs',
}

/**
 * Types of packages that blocks import but that are not installed for tests, because they are large and nothing else uses
 * them.
 */
const stubs: Readonly<Record<string, string>> = {
  '@azure/identity': `
import type { TokenCredential } from '@azure/storage-blob'
export declare class DefaultAzureCredential implements TokenCredential {
  getToken: TokenCredential['getToken']
}
`,
}

const modules = markdownFiles.flatMap((page) =>
  page.blocks.flatMap((block) => {
    const extension = extensions[block.language]
    return extension === undefined ? [] : [{ page, block, extension, place: `${page.path}:${block.line}` }]
  }),
)

/** The packages that a block imports, by name. */
const importsOf = ({ code }: CodeBlock): string[] =>
  [...code.matchAll(/(?:\bfrom|\bimport|\brequire\(|\bimport\() ?'((?:@[^/']+\/)?[^./'][^/']*)/g)].map(
    ([, name = '']) => name,
  )

const dependenciesIn = async (path: string): Promise<string[]> => {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(await readFile(join(root, path), 'utf8'))
  return Object.keys({ ...dependencies, ...devDependencies })
}

/** The packages of examples with a package.json of their own, which are not installed here, by folder. */
const ownPackages = new Map<string, string[]>()
/** A directory in the repository, so that imports of this package, and of its devDependencies, are resolved as usual. */
let directory = ''
beforeAll(async () => {
  const installed = await dependenciesIn('package.json')
  for (const path of trackedFiles.filter((file) => /^examples\/.*package\.json$/.test(file))) {
    const names = await dependenciesIn(path)
    const own = names.filter((name) => !installed.includes(name) && name !== 'express-bits-upload')
    ownPackages.set(dirname(path), own)
  }
  await mkdir(join(root, 'node_modules/.cache'), { recursive: true })
  directory = await mkdtemp(join(root, 'node_modules/.cache/code-blocks-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

/** Whether a block needs packages that only the package.json of its folder names. */
const needsOwnPackages = (page: MarkdownFile, block: CodeBlock): boolean =>
  importsOf(block).some((name) => ownPackages.get(dirname(page.path))?.includes(name))

/** Compiles modules, by path below the repository; returns the output of the compiler. */
async function compile(sources: ReadonlyMap<string, string>): Promise<string> {
  const write = async (path: string, text: string): Promise<string> => {
    const file = join(directory, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text)
    return file
  }
  const files: string[] = []
  for (const [path, code] of sources) files.push(await write(path, code))
  const paths: Record<string, string[]> = {}
  for (const [name, text] of Object.entries(stubs)) {
    paths[name] = [await write(`stubs/${name.replaceAll('/', '-')}.d.mts`, text)]
  }
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2024'],
    types: ['node'],
    strict: true,
    verbatimModuleSyntax: true,
    allowJs: true,
    checkJs: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    noEmit: true,
    paths,
    // Blocks import files beside their page: `./accounts.ts`.
    rootDirs: [root, directory],
  }
  // Declarations of modules without types, which the examples use.
  const ambient = trackedFiles.filter((path) => path.endsWith('.d.ts')).map((path) => join(root, path))
  const config = await write(
    'tsconfig.json',
    JSON.stringify({ compilerOptions, files: [...files, ...ambient] }),
  )
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, '-p', config, '--pretty', 'false'], {
    cwd: directory,
  }).catch((error) => error)
  return stdout
}

describe('the blocks of TypeScript and JavaScript in markdown files', () => {
  it('compile as printed', async () => {
    const compiled = modules.filter(({ page, block }) => !needsOwnPackages(page, block))
    const sources = compiled.map(({ place, extension, block }): [string, string] => [
      `${place.replace(':', '-')}.${extension}`,
      block.code,
    ])
    expect(await compile(new Map(sources))).toBe('')
  })

  it('are whole files of their folder if they import packages that only its package.json names', async () => {
    // The test of the folder compiles its files, with these packages installed.
    for (const { page, block, place } of modules.filter(({ page, block }) => needsOwnPackages(page, block))) {
      const file = join(root, dirname(page.path), block.source ?? 'missing')
      expect(await readFile(file, 'utf8').catch(() => undefined), place).toBe(`${block.code}\n`)
    }
  })

  it('fail to compile if an import is missing, or its package unknown', async () => {
    const call = "bitsUpload({ store: './incoming' })\n"
    const output = await compile(
      new Map([
        ['missing.mts', call],
        ['complete.mts', `import { bitsUpload } from 'express-bits-upload'\n\n${call}`],
        ['unknown.mjs', "import 'no-such-package'\n"],
      ]),
    )
    expect(output.trim().split('\n')).toEqual([
      expect.stringMatching(/^missing\.mts\(1,1\): .*'bitsUpload'/),
      expect.stringMatching(/^unknown\.mjs\(1,8\): .*'no-such-package'/),
    ])
  })
})
