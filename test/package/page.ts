import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './package.ts'

/** A markdown file of the repository. */
export interface Page {
  readonly text: string
  /** Returns the section with this heading, including its subsections. */
  section(heading: string): string
}

/** @param path below the repository, for example `lib/client/README.md` */
export function readPage(path: string): Page {
  const text = readFileSync(join(root, path), 'utf8')
  return {
    text,
    section(heading) {
      // Code blocks are blanked, because a comment in a shell script looks like a heading.
      const prose = text.replace(/^```.*?^```$/gms, (block) => ' '.repeat(block.length))
      const begin = new RegExp(`^(#+) ${heading}$`, 'm').exec(prose)
      if (!begin) throw new Error(`${path} has no section '${heading}'`)
      const [{ length }, level = ''] = begin
      const from = begin.index + length
      const end = prose.slice(from).search(new RegExp(`^#{1,${level.length}} `, 'm'))
      return text.slice(from, end < 0 ? undefined : from + end)
    },
  }
}

/** The code blocks of a text in a language. */
export const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , code]) => code ?? '')

/** The rows of a table, without the header. */
export const rows = (text: string): string[][] =>
  [...text.matchAll(/^\|(.*)\|$/gm)]
    .slice(2)
    .map(([, cells = '']) => cells.split(/(?<!\\)\|/).map((cell) => cell.trim()))

/** The code span at the start of a cell. */
export const code = (cell: string | undefined): string => /^`([^`]*)`/.exec(cell ?? '')?.[1] ?? ''

/** An option that does not exist, as an argument of any type. */
export const unknownOption = { 'no such option': 1 } as never

/** The list of names in the text of the error that `call` throws, for example `the options are a, b`. */
export function namesInError(call: () => unknown): string[] {
  try {
    call()
  } catch (error) {
    return (/the (?:\w+ )?(?:options|codes) are (.*)/.exec(String(error))?.[1] ?? '').split(', ')
  }
  throw new Error('The call did not throw')
}
