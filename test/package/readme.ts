import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './package.ts'

/** README.md. */
export const readme = readFileSync(join(root, 'README.md'), 'utf8')

/** One section, by its heading. */
export function section(heading: string): string {
  const found = readme.split(/^###? /m).find((text) => text.startsWith(`${heading}\n`))
  if (found === undefined) throw new Error(`README.md has no section '${heading}'`)
  return found
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
