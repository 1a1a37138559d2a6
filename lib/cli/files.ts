import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { glob, isDynamicPattern } from 'tinyglobby'
import { UsageError } from './command.ts'

export interface FileToSend {
  readonly path: string
  /** Name below a URL that ends with a slash: segments joined with `/`. */
  readonly name: string
}

/**
 * Finds the files that arguments name: files, directories with all files in them, and patterns, for shells
 * that do not expand them.
 * @throws {UsageError} for a missing file, and for two files with the same name
 */
export async function findFiles(args: readonly string[]): Promise<FileToSend[]> {
  const files = new Map<string, FileToSend>()
  for (const file of (await Promise.all(args.map(find))).flat()) {
    const { path, name } = file
    const other = files.get(name)
    if (other && other.path !== path) {
      throw new UsageError(`${other.path} and ${path} would both be ${name}: send them with two commands`)
    }
    files.set(name, file)
  }
  return [...files.values()]
}

async function find(arg: string): Promise<FileToSend[]> {
  const path = resolve(arg)
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) return inDirectory(path)
  if (found) return [{ path, name: basename(path) }]
  if (!isDynamicPattern(arg)) throw new UsageError(`the file ${arg} does not exist`)
  const matches = await glob(arg.replaceAll('\\', '/'), { absolute: true, onlyFiles: true })
  if (matches.length === 0) throw new UsageError(`no file matches ${arg}`)
  return matches.sort().map((match) => ({ path: resolve(match), name: basename(match) }))
}

/**
 * All files below a directory, with their relative paths. Links are not followed: they may lead anywhere, or
 * form loops.
 */
async function inDirectory(directory: string): Promise<FileToSend[]> {
  const names = await glob('**/*', { cwd: directory, dot: true, onlyFiles: true, followSymbolicLinks: false })
  if (names.length === 0) throw new UsageError(`there are no files in ${directory}`)
  return names
    .sort()
    .map((name) => ({ path: resolve(directory, name), name: `${basename(directory)}/${name}` }))
}

/** The URL of an uploaded file. */
export function urlFor({ name }: FileToSend, url: URL): URL {
  if (!url.pathname.endsWith('/')) return url
  const target = new URL(url)
  target.pathname += name.split('/').map(encodeURIComponent).join('/')
  return target
}
