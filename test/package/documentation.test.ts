/** Checks of all markdown files: links, excerpts, format and words. And of the configuration of the reference. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BitsError, type BitsErrorCode } from '../../lib/index.ts'
import { type MarkdownFile, markdownFiles, parseMarkdown, trackedFiles } from './markdown.ts'
import { root } from './package.ts'
import {
  brokenLinks,
  formatErrors,
  unclearWords,
  undefinedReferences,
  unusedDefinitions,
  wrongExcerpts,
} from './page-checks.ts'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** A page of a test. */
const page = (text: string, path = 'guides/page.md'): MarkdownFile => parseMarkdown(path, text)

describe('the markdown files', () => {
  it('link to files of the repository, and to headings of pages', () => {
    expect(markdownFiles.flatMap((file) => brokenLinks(file, markdownFiles, trackedFiles))).toEqual([])
  })

  it('define the labels of reference links, and use every definition', () => {
    expect(
      markdownFiles.flatMap((file) => [...undefinedReferences(file), ...unusedDefinitions(file)]),
    ).toEqual([])
  })

  it('name no address of the repository, which has none', () => {
    const addresses = markdownFiles.flatMap(({ path, text }) =>
      (text.match(/\bhttps?:\/\/\S*express-bits-upload\S*/g) ?? []).map((url) => `${path}: ${url}`),
    )
    expect(addresses).toEqual([])
  })

  it('show excerpts as they are in their file', () => {
    const fileText = (path: string) => (trackedFiles.includes(path) ? read(path) : undefined)
    expect(markdownFiles.flatMap((file) => wrongExcerpts(file, fileText))).toEqual([])
  })

  it('have no trailing spaces or tabs, and headings in order', () => {
    expect(markdownFiles.flatMap(formatErrors)).toEqual([])
  })

  it('use plain words', () => {
    expect(markdownFiles.flatMap(unclearWords)).toEqual([])
  })
})

describe('the checks of markdown files', () => {
  const other = page('# Other\n\n## In `code`\n\n<a id="named"></a>\n', 'other.md')
  const files = ['guides/page.md', 'other.md', 'folder/file.txt', 'folder/README.md']
  const broken = (text: string): string[] => brokenLinks(page(text), [other], files)

  it('accept links that resolve', () => {
    const text = `# Page

[a](../other.md) [b](../other.md#in-code) [c](#page) [d](https://example.test/) ![e](../folder/file.txt) [f][ref] [ref]
[g](../other.md#named) <a href="../other.md">h</a>

- | [i](page.md) |
  | ------------ |
  | [j](page.md) |

[ref]: ../other.md#other
`
    expect(page(text).links).toHaveLength(11)
    expect(broken(text)).toEqual([])
    expect([...undefinedReferences(page(text)), ...unusedDefinitions(page(text))]).toEqual([])
  })

  it.each([
    ['a file that does not exist', '[a](missing.md)', 'there is no such file'],
    ['an image that does not exist', '![a](missing.png)', 'there is no such file'],
    ['a folder', '[a](../folder/)', 'README.md of the folder'],
    ['a heading that does not exist', '[a](#missing)', 'there is no such heading'],
    ['a heading of another page that does not exist', '[a](../other.md#code)', 'there is no such heading'],
    ['a heading of a file without headings', '[a](../folder/file.txt#L10)', 'there is no such heading'],
    ['a file in a table, by a reference', '| a |\n| - |\n| [b] |\n\n[b]: b.md', 'there is no such file'],
    ['an absolute path', '[a](/other.md)', 'write a relative link'],
    ['a file outside', '[a](../../a.md)', 'there is no such file'],
    ['a file in HTML', '<p><img src="a.png"></p>', 'there is no such file'],
  ])('report a link to %s', (_, text, problem) => {
    expect(broken(text)).toEqual([expect.stringContaining(problem)])
  })

  it('ignore links in code', () => {
    expect(broken('`[a](missing.md)`\n\n```md\n[b](missing.md)\n```\n')).toEqual([])
  })

  it('report labels that are not defined, and definitions that are not used', () => {
    expect(undefinedReferences(page('A [page][missing] of [MC-BUP] 3.2'))).toEqual([
      'guides/page.md: [page][missing]',
    ])
    expect(unusedDefinitions(page('A [page][used].\n\n[Used]: a.md\n[unused]: b.md\n'))).toEqual([
      'guides/page.md: [unused]',
    ])
  })

  it('compare a block with the file that the line above names', () => {
    const text = (code: string, above = 'This is [server.mjs](server.mjs):') =>
      page(`# Page\n\n${above}\n\n\`\`\`js\n${code}\n\`\`\`\n`)
    const file = 'first()\n\nif (second) {\n  third()\n}\n'
    const wrong = (tested: MarkdownFile): string[] =>
      wrongExcerpts(tested, (path) => (path === 'guides/server.mjs' ? file : undefined))
    expect(wrong(text('first()\n\nif (second) {'))).toEqual([])
    expect(wrong(text('  third()'))).toEqual([])
    expect(wrong(text('second()'))).toEqual(['guides/page.md:6 is not in guides/server.mjs'])
    expect(wrong(text('third()'))).toHaveLength(1)
    expect(wrong(text('second()', 'See [server.mjs](server.mjs).'))).toEqual([])
    expect(wrong(text('second()', 'See [missing](missing.mjs):'))).toHaveLength(1)
    expect(wrong(page('- [server.mjs](server.mjs):\n\n  ```js\n  second()\n  ```\n'))).toHaveLength(1)
  })

  it('find the line of each block', () => {
    const text =
      '# Page\n\n```ts\nsame()\n```\n\n- Item:\n\n  ```js title\n  same()\n  ```\n\n~~~sh\nsame\n~~~\n'
    expect(page(text).blocks.map(({ language, code, line }) => [language, code, line])).toEqual([
      ['ts', 'same()', 4],
      ['js', 'same()', 10],
      ['sh', 'same', 14],
    ])
  })

  it.each([
    ['a space at the end of a line', '# Page\n\nText \n', ':3 ends with a space'],
    ['a tab', '# Page\n\n\tcode\n', ':3 has a tab'],
    ['no line feed at the end', '# Page', 'does not end with one line feed'],
    ['two line feeds at the end', '# Page\n\n', 'does not end with one line feed'],
    ['no heading', 'Text\n', 'has no heading'],
    ['a first heading of level 2', '## Page\n', 'does not begin'],
    ['two headings of level 1', '# Page\n\n# Page 2\n', 'is a second heading'],
    ['a heading that skips a level', '# Page\n\n### Part\n', '#part skips a level'],
    ['a heading twice', '# Page\n\n## Part 4\n\n## Part\n\n## Part 4\n', '#part-4-1 repeats a heading'],
  ])('report %s', (_, text, problem) => {
    expect(formatErrors(page(text))).toEqual([expect.stringContaining(problem)])
  })

  it('report unclear words, but not in code', () => {
    expect(
      unclearWords(page('# Page\n\nIt is **told** to `somebody`.\n\n| It goes on anew |\n| - |\n')),
    ).toEqual([expect.stringContaining("'told'"), expect.stringContaining("'anew'")])
    expect(unclearWords(page('<details>\n<summary>Who asks</summary>\n</details>\n'))).toHaveLength(1)
    expect(unclearWords(page('# Page\n\n```\ntells\n```\n\nThe process is about to begin again.\n'))).toEqual(
      [],
    )
  })
})

describe('the reference', () => {
  it('has a page for each entry point of the package', () => {
    const { exports } = JSON.parse(read('package.json')) as {
      readonly exports: Readonly<Record<string, { readonly types?: string }>>
    }
    const sources = Object.values(exports).flatMap(({ types }) =>
      types === undefined ? [] : [types.replace('./dist/', '../../lib/').replace('.d.ts', '.ts')],
    )
    expect(sources).toHaveLength(5)
    expect(JSON.parse(read('.ci/docs/typedoc.json')).entryPoints).toEqual(sources)
  })

  it('names each entry point as it is imported', () => {
    for (const entry of ['', '/client', '/azure', '/s3', '/testing']) {
      const { entryPoints } = JSON.parse(read('.ci/docs/typedoc.json')) as { readonly entryPoints: string[] }
      const texts = entryPoints.map((path) => read(join('.ci/docs', path)))
      const named = texts.filter((text) => text.includes(` * @module express-bits-upload${entry}\n`))
      expect(named, entry).toHaveLength(1)
    }
  })

  it('states the status and HRESULT of each error code', () => {
    const documented = [
      ...read('lib/protocol/errors.ts').matchAll(
        /\/\*\* .*?\. (\d{3})(?:, (0x[\dA-F]{8}))?\b.*\*\/\n {2}\| '([\w-]+)'/g,
      ),
    ].map(([, status, hresult, code]) => ({
      code,
      status: Number(status),
      hresult: hresult && Number(hresult),
    }))
    expect(documented).toHaveLength(24)
    for (const { code, status, hresult } of documented) {
      expect(new BitsError(code as BitsErrorCode), code).toMatchObject({ status, hresult })
    }
  })
})
