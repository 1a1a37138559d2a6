/**
 * A second machine that shares a directory through a network file system. It is a process with another boot id, which
 * reaches the directory through FUSE: neither of the two can connect to the socket of the other one.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'
import { createNamespaces, describeUnless, mountBootId, mountThroughFuse, unavailable } from './namespace.ts'
import { inProcess } from './remote-locker.ts'

const reason = unavailable(
  ['--mount'],
  `${mountBootId}
   root=$(mktemp -d); trap 'umount -q "$root" || true; rmdir "$root"' EXIT
   ${mountThroughFuse('/tmp', '"$root"')}`,
)

const inUse = { code: 'DIRECTORY_IN_USE' }
/** A process waits up to 15 seconds for the file of another machine to change. */
const slow = { timeout: 60_000, interval: 200 }

async function start() {
  const directory = await temporaryDirectory()
  const mountPoint = await temporaryDirectory()
  const { command } = await createNamespaces(
    ['--mount'],
    `${mountBootId}\n${mountThroughFuse('"$1"', '"$2"')}`,
    directory,
    mountPoint,
  )
  return {
    locks: join(directory, '.bits-sessions', 'locks'),
    onFirst: () => inProcess()(directory),
    onSecond: () => inProcess(...command)(mountPoint),
  }
}

describeUnless(reason, 'A directory that two machines share', () => {
  it('is refused at the second one until the process at the first one is killed', async () => {
    const { onFirst, onSecond } = await start()
    const [first, second] = [onFirst(), onSecond()]
    const lock = await first.create()
    const refused = second.idPrefix()
    await expect(refused).rejects.toMatchObject(inUse)
    await expect(refused).rejects.toThrow(
      /^\S+ is in use by another process \(process \d+ on \S+\) that cannot be reached through a socket there, so files could be damaged: run one process, or use a directory on a local file system of one machine$/,
    )
    expect(await first.tryAcquire(lock.key)).toBeUndefined()
    await first.kill()
    await (await second.acquire(lock.key)).release()
    await expect(onFirst().idPrefix()).rejects.toMatchObject(inUse)
  })

  it('is used by one of them if both start after a third one was killed', async () => {
    const { locks, onFirst, onSecond } = await start()
    await mkdir(locks, { recursive: true, mode: 0o700 })
    await writeFile(join(locks, 'third.machine'), 'nas 4711 ABCDEF\n')
    const first = onFirst().idPrefix()
    // It waits for the file of the third one to change when the second one starts.
    await vi.waitUntil(
      async () => (await readdir(locks)).filter((name) => name.endsWith('.machine')).length > 1,
      slow,
    )
    const started = await Promise.allSettled([first, onSecond().idPrefix()])
    expect(started.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('is not taken from the first one by a second one that tries again and again', async () => {
    const { onFirst, onSecond } = await start()
    const [first, second] = [onFirst(), onSecond()]
    const lock = await first.create()
    for (let attempts = 1; attempts <= 4; attempts += 1)
      await expect(second.tryAcquire(lock.key)).rejects.toMatchObject(inUse)
    await lock.release()
    await (await first.create()).release()
  })

  it('is refused at the first one after it was stopped while the second one started', async () => {
    const { onFirst, onSecond } = await start()
    const first = onFirst()
    await first.idPrefix()
    process.kill(first.pid as number, 'SIGSTOP')
    const second = onSecond()
    const lock = await second.create()
    process.kill(first.pid as number, 'SIGCONT')
    await expect.poll(() => first.idPrefix().catch(({ code }) => code), slow).toBe(inUse.code)
    expect(await second.tryAcquire(lock.key)).toBeUndefined()
    await lock.release()
    await (await second.acquire(lock.key)).release()
  })
})
