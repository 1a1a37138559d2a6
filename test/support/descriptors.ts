import { readdir, readlink } from 'node:fs/promises'

/** The files below a directory that this process has open, those too that are removed; on Linux only. */
export async function openBelow(directory: string): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd')
  const paths = await Promise.all(descriptors.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
  return paths.filter((path) => path.startsWith(`${directory}/`))
}
