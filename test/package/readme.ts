import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './package.ts'

/** README.md. */
export const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** One section, by its heading, with the sections below it. */
export function section(heading: string): string {
  // A comment in a script begins like a heading.
  const prose = readme.replace(/^```.*?^```$/gms, (code) => ' '.repeat(code.length))
  const begin = new RegExp(`^(#+) ${heading}$`, 'm').exec(prose)
  if (!begin) throw new Error(`README.md has no section '${heading}'`)
  const [{ length }, level = ''] = begin
  const from = begin.index + length
  const end = prose.slice(from).search(new RegExp(`^#{1,${level.length}} `, 'm'))
  return readme.slice(from, end < 0 ? undefined : from + end)
}

/** The code blocks of a text in one language. */
export const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , code]) => code ?? '')

/** The rows of a table, without its head. */
export const rows = (text: string): string[][] =>
  [...text.matchAll(/^\|(.*)\|$/gm)]
    .slice(2)
    .map(([, cells = '']) => cells.split(/(?<!\\)\|/).map((cell) => cell.trim()))

/** What stands in code at the beginning of a cell. */
export const code = (cell: string | undefined): string => /^`([^`]*)`/.exec(cell ?? '')?.[1] ?? ''
