/** Locks of two processes that share a directory in every way that one kernel allows. */
import { mkdir, readdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'
import { createNamespaces, describeUnless, mountBootId, mountThroughFuse, unavailable } from './namespace.ts'
import { inClusterWorker, inProcess, inThread, type RemoteLocker, type Start } from './remote-locker.ts'

/** The folder of the locks in the directory of a file store. */
const locksOf = (directory: string): string => join(directory, '.bits-sessions', 'locks')

/** How one of the two starts, and the path by which it reaches the directory. */
interface Side {
  readonly start: Start
  readonly directory: string
}

/** A way to share a directory. */
interface Place {
  readonly name: string
  /** Why it cannot be tested here. */
  readonly unavailable?: string | undefined
  /** @param root an empty directory, of which the place may use all */
  open(root: string): Promise<readonly [Side, Side]>
}

/** Both reach the directory by the same path. */
const alike = (name: string, start: Start): Place => ({
  name,
  async open(root) {
    const side = { start, directory: root }
    return [side, side]
  },
})

/** A directory with so long a path that the paths of sockets have this number of bytes. */
const longPath = (bytes: number): Place => ({
  name: `processes with socket paths of ${bytes} bytes`,
  unavailable: process.platform === 'linux' ? undefined : 'only Linux reaches sockets with long paths',
  async open(root) {
    const missing = bytes - Buffer.byteLength(join(locksOf(root), 'ABCDEF.socket'))
    // A name has at most 255 bytes.
    const directory = join(root, '/d'.repeat(missing / 2 - 1), 'd'.repeat(1 + (missing % 2)))
    expect(Buffer.byteLength(join(locksOf(directory), 'ABCDEF.socket'))).toBe(bytes)
    await mkdir(directory, { recursive: true })
    const side = { start: inProcess(), directory }
    return [side, side]
  },
})

/** Two containers: each process has its own mount point for the directory, and does not see the other processes. */
const containers: Place = {
  name: 'PID and mount namespaces with different mount points',
  unavailable: unavailable(['--pid', '--mount', '--fork']),
  async open(root) {
    const directory = join(root, 'volume')
    await mkdir(directory)
    const mountAndRun = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    const sideAt = async (mountPoint: string): Promise<Side> => {
      await mkdir(mountPoint)
      const command = ['unshare', '--pid', '--mount', '--mount-proc', '--fork', '--kill-child']
      const start = inProcess(...command, 'sh', '-ec', mountAndRun, 'sh', directory, mountPoint)
      return { start, directory: mountPoint }
    }
    return [await sideAt(join(root, 'srv')), await sideAt(join(root, 'data'))]
  },
}

/** Containers of some runtimes do not see the boot id of the kernel. */
const otherBootId: Place = {
  name: 'a process and a container with a boot id of its own',
  unavailable: unavailable(['--mount'], mountBootId),
  async open(root) {
    const { command } = await createNamespaces(['--mount'], mountBootId)
    return [
      { start: inProcess(), directory: root },
      { start: inProcess(...command), directory: root },
    ]
  },
}

const symbolicLink: Place = {
  name: 'a directory and a symbolic link to it',
  async open(root) {
    const [directory, link] = [join(root, 'directory'), join(root, 'link')]
    await mkdir(directory)
    await symlink(directory, link)
    const start = inProcess()
    return [
      { start, directory },
      { start, directory: link },
    ]
  },
}

const bindMount: Place = {
  name: 'a directory and a bind mount of it',
  unavailable: unavailable(['--mount']),
  async open(root) {
    const [directory, mountPoint] = [join(root, 'directory'), join(root, 'mount')]
    await mkdir(directory)
    await mkdir(mountPoint)
    const { command } = await createNamespaces(['--mount'], 'mount --bind "$1" "$2"', directory, mountPoint)
    const start = inProcess(...command)
    return [
      { start, directory },
      { start, directory: mountPoint },
    ]
  },
}

/** @param script mounts it at `mount` in the working directory, where there is also an empty folder `layers` */
const fileSystem = (name: string, script: string): Place => ({
  name: `a directory on ${name}`,
  unavailable: unavailable(
    ['--mount'],
    `root=$(mktemp -d); trap 'cd /; umount -q "$root/mount" "$root/layers" || true; rm -r "$root"' EXIT
     mkdir "$root/mount" "$root/layers"; cd "$root"; ${script}`,
  ),
  async open(root) {
    await mkdir(join(root, 'mount'))
    await mkdir(join(root, 'layers'))
    const { command } = await createNamespaces(['--mount'], `cd "$1"; ${script}`, root)
    const side = { start: inProcess(...command), directory: join(root, 'mount') }
    return [side, side]
  },
})

const overlay = (prepare: string): string => `
  mount -t tmpfs none layers
  mkdir layers/lower layers/upper layers/work
  ${prepare}
  mount -t overlay none -o lowerdir=layers/lower,upperdir=layers/upper,workdir=layers/work mount`

const imageOf = (size: string, make: string): string =>
  `truncate -s ${size} image; ${make} image >&2; mount -o loop image mount`

const places: readonly Place[] = [
  alike('processes', inProcess()),
  alike('workers of a cluster', inClusterWorker),
  alike('worker threads', inThread),
  { ...alike('network namespaces', inProcess('unshare', '--net')), unavailable: unavailable(['--net']) },
  containers,
  otherBootId,
  symbolicLink,
  bindMount,
  // The longest path that a socket may have, the shortest one that it may not, and a longer one.
  ...[107, 108, 250].map(longPath),
  fileSystem('overlayfs', overlay('')),
  fileSystem(
    'overlayfs with the directory in the lower layer',
    overlay('mkdir -m 700 -p layers/lower/.bits-sessions/locks'),
  ),
  fileSystem('tmpfs', 'mount -t tmpfs none mount'),
  fileSystem('ext4', imageOf('16M', 'mkfs.ext4 -q')),
  // `.ci/unpack .cache/xfsprogs xfsprogs` downloads mkfs.xfs, `.ci/unpack .cache/bindfs bindfs` bindfs.
  fileSystem('xfs', imageOf('320M', 'mkfs.xfs -q')),
  fileSystem('FUSE', mountThroughFuse('layers', 'mount')),
]

/** Two lockers, the second of which gets the lock of the first only after its release. Releases both. */
async function verifyHandOver(holder: RemoteLocker, other: RemoteLocker, key: string, isNew = false) {
  const held = await holder.acquire(key, isNew)
  expect(await other.tryAcquire(key)).toBeUndefined()
  const waiting = other.acquire(key)
  await held.requested()
  // Another lock is not affected, and a wrongly granted lock has time to arrive.
  const separate = await (isNew ? other : holder).create()
  await separate.release()
  const releasedAt = await held.release()
  const next = await waiting
  expect(next.acquiredAt > releasedAt).toBe(true)
  expect(held.requests()).toBe(1)
  expect(await holder.tryAcquire(key)).toBeUndefined()
  await next.release()
}

for (const { name, unavailable, open } of places) {
  describeUnless(unavailable, `Locks of ${name}`, () => {
    async function start() {
      const [one, two] = await open(await temporaryDirectory())
      return {
        creator: one.start(one.directory),
        other: two.start(two.directory),
        restart: () => one.start(one.directory),
      }
    }

    it('pass from the creator of a session to the other one, and back', async () => {
      const { creator, other } = await start()
      const key = await creator.newKey()
      await verifyHandOver(creator, other, key, true)
      await verifyHandOver(other, creator, key)
      await verifyHandOver(creator, other, key)
    })

    it('are free when their holder is killed, whichever it is', async () => {
      const { creator, other, restart } = await start()
      const held = await creator.create()
      const { key } = held
      const waiting = other.acquire(key)
      await held.requested()
      await creator.kill()
      const taken = await waiting
      // The creator has ended. Two others remain.
      const third = restart()
      expect(await third.tryAcquire(key)).toBeUndefined()
      const next = third.acquire(key)
      await taken.requested()
      await other.kill()
      await (await next).release()
    })

    it('are free for the creator when the other one is killed', async () => {
      const { creator, other } = await start()
      const key = await creator.newKey()
      const held = await other.acquire(key)
      expect(await creator.tryAcquire(key)).toBeUndefined()
      const waiting = creator.acquire(key)
      await held.requested()
      await other.kill()
      await (await waiting).release()
    })

    it('are held by one at a time over 40 requests of both', async () => {
      const { creator, other } = await start()
      const key = await creator.newKey()
      let holders = 0
      await Promise.all(
        Array.from({ length: 40 }, async (_, i) => {
          const lock = await (i % 2 === 0 ? creator : other).acquire(key)
          expect(++holders).toBe(1)
          // A second lock that was granted by mistake would arrive before these answers.
          await Promise.all([creator.idPrefix(), other.idPrefix()])
          holders -= 1
          await lock.release()
        }),
      )
    })
  })
}

// Counts descriptors in /proc.
describe.runIf(process.platform === 'linux')('Locks of 100 sessions', () => {
  const lockFolders = async (directory: string): Promise<string[]> =>
    (await readdir(locksOf(directory))).filter((name) => !/\.(socket|machine)$/.test(name))

  it('take no file and no descriptor in the process that created the sessions', async () => {
    const directory = await temporaryDirectory()
    const creator = inProcess()(directory)
    const first = await creator.create()
    const [names, descriptors] = [await readdir(locksOf(directory)), await creator.descriptors()]
    const extensions = names.map((name) => name.slice(name.lastIndexOf('.')))
    expect(extensions.sort()).toEqual(['.machine', '.socket'])
    const verify = async () => {
      expect(await readdir(locksOf(directory))).toEqual(names)
      expect(await creator.descriptors()).toBe(descriptors)
    }
    const locks = await Promise.all(Array.from({ length: 99 }, () => creator.create()))
    await verify()
    for (const lock of [first, ...locks]) await lock.release()
    await verify()
    for (const { key } of locks) await creator.acquire(key)
    await verify()
  })

  it('take one file each and no descriptor in another process, and nothing after their release', async () => {
    const directory = await temporaryDirectory()
    const [creator, other] = [inProcess()(directory), inProcess()(directory)]
    const keys = await Promise.all(Array.from({ length: 100 }, () => creator.newKey()))
    await other.idPrefix()
    const descriptors = async () => [await creator.descriptors(), await other.descriptors()]
    const before = await descriptors()
    const locks = await Promise.all(keys.map((key) => other.acquire(key)))
    // The connections to the creator end soon after.
    await expect.poll(descriptors).toEqual(before)
    const folders = await lockFolders(directory)
    expect(folders).toHaveLength(100)
    for (const folder of folders)
      expect(await readdir(join(locksOf(directory), folder))).toEqual([await other.idPrefix()])
    for (const lock of locks) await lock.release()
    expect(await lockFolders(directory)).toEqual([])
    await expect.poll(descriptors).toEqual(before)
  })
})
