import type { FileSystem } from './file-system.ts'

/**
 * The kind of file system that a path lies on, `ext4` for example; undefined where Linux does not tell. By proc(5), not by
 * statfs(2): 9p has that tell what lies behind it, on another machine.
 * @throws what `stat` or `readFile` do
 */
export async function fileSystemOf(fs: FileSystem, path: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined
  const [{ dev }, mounts] = await Promise.all([fs.stat(path), fs.readFile('/proc/self/mountinfo', 'utf8')])
  return kindOf(dev, mounts)
}

/** A line is `24 23 0:22 / /dev/shm rw,relatime - tmpfs tmpfs rw`; before the dash there may be more fields. */
function kindOf(dev: number, mounts: string): string | undefined {
  const device = `${major(dev)}:${minor(dev)}`
  const line = mounts.split('\n').find((mount) => mount.split(' ', 3)[2] === device)
  return line && / - (\S+) /.exec(line)?.[1]
}

// As Linux puts the two together, 12 bits and 20; not by bits here, for those of JavaScript are 32.
const major = (dev: number): number => Math.floor(dev / 2 ** 8) % 2 ** 12
const minor = (dev: number): number => (dev % 2 ** 8) + Math.floor(dev / 2 ** 20) * 2 ** 8
