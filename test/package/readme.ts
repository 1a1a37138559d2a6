import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './package.ts'

/** The text of README.md. */
export const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** The section with this heading, including its subsections. */
export function section(heading: string): string {
  // Code blocks are blanked, because a comment in a shell script looks like a heading.
  const prose = readme.replace(/^```.*?^```$/gms, (code) => ' '.repeat(code.length))
  const begin = new RegExp(`^(#+) ${heading}$`, 'm').exec(prose)
  if (!begin) throw new Error(`README.md has no section '${heading}'`)
  const [{ length }, level = ''] = begin
  const from = begin.index + length
  const end = prose.slice(from).search(new RegExp(`^#{1,${level.length}} `, 'm'))
  return readme.slice(from, end < 0 ? undefined : from + end)
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
