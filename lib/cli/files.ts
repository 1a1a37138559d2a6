import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { glob, isDynamicPattern } from 'tinyglobby'
import { UsageError } from './command.ts'

/** A file to send. */
export interface FileToSend {
  readonly path: string
  /** Below a URL that ends with a slash: segments joined with `/`. */
  readonly name: string
}

/**
 * The files that the arguments of a command name: files, directories with all that is in them, and patterns, for shells
 * that do not resolve them.
 * @throws {UsageError} for what is not there, and for two files that would have one name
 */
export async function findFiles(args: readonly string[]): Promise<FileToSend[]> {
  const files = new Map<string, FileToSend>()
  for (const file of (await Promise.all(args.map(find))).flat()) {
    const { path, name } = file
    const other = files.get(name)
    if (other && other.path !== path) {
      throw new UsageError(`${other.path} and ${path} would both be ${name}: send them one after the other`)
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
  if (!isDynamicPattern(arg)) throw new UsageError(`there is no file ${arg}`)
  const matches = await glob(arg.replaceAll('\\', '/'), { absolute: true, onlyFiles: true })
  if (matches.length === 0) throw new UsageError(`no file is like ${arg}`)
  return matches.sort().map((match) => ({ path: resolve(match), name: basename(match) }))
}

/** What is in a directory keeps its place in it. Links are not followed: they may lead anywhere, and in circles. */
async function inDirectory(directory: string): Promise<FileToSend[]> {
  const names = await glob('**/*', { cwd: directory, dot: true, onlyFiles: true, followSymbolicLinks: false })
  if (names.length === 0) throw new UsageError(`there are no files in ${directory}`)
  return names
    .sort()
    .map((name) => ({ path: resolve(directory, name), name: `${basename(directory)}/${name}` }))
}

/** The URL that a file is to have. */
export function urlFor({ name }: FileToSend, url: URL): URL {
  if (!url.pathname.endsWith('/')) return url
  const target = new URL(url)
  target.pathname += name.split('/').map(encodeURIComponent).join('/')
  return target
}
