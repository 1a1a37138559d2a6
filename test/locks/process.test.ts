import { fork } from 'node:child_process'
import { once } from 'node:events'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { processLocker } from '../../lib/locks/process.ts'
import { temporaryDirectory } from '../support/directory.ts'

/** A process that holds a lock. */
async function holder(...args: string[]) {
  const program = fileURLToPath(new URL('holder.ts', import.meta.url))
  const child = fork(program, args, { execArgv: ['--import', 'tsx'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child, 'message')
  return child
}

describe('processLocker', () => {
  it('grants a lock to one locker of a directory at a time, also through a symbolic link', async () => {
    const directory = await temporaryDirectory()
    const alias = join(await temporaryDirectory(), 'alias')
    await symlink(directory, alias)
    const [one, other] = [processLocker(directory), processLocker(alias)]
    const order: number[] = []
    const first = await one.acquire('a')
    const second = other.acquire('a').then((lock) => {
      order.push(2)
      return lock
    })
    await (await other.acquire('b')).release()
    await (await processLocker(await temporaryDirectory()).acquire('a')).release()
    expect(order).toEqual([])
    expect(await other.tryAcquire('a')).toBeUndefined()
    expect(await one.tryAcquire('a')).toBeUndefined()
    await first.release()
    await (await second).release()
    expect(order).toEqual([2])
    const again = await one.tryAcquire('a')
    expect(again).toBeDefined()
    await again?.release()
    await again?.release()
  })

  it('calls onReleaseRequested of the holder once for several waiting requests', async () => {
    const directory = await temporaryDirectory()
    const lockers = [1, 2, 3].map(() => processLocker(directory))
    const wanted = vi.fn()
    const lock = await lockers[0]?.acquire('a', { onReleaseRequested: wanted })
    const others = lockers.slice(1).map((locker) => locker.acquire('a'))
    await vi.waitUntil(() => wanted.mock.calls.length > 0)
    const local = lockers[0]?.acquire('a')
    await lock?.release()
    for (const other of [...others, local]) void other?.then((next) => next.release())
    await Promise.all([...others, local])
    expect(wanted).toHaveBeenCalledTimes(1)
  })

  it('rejects a waiting request with the abort reason', async () => {
    const directory = await temporaryDirectory()
    const [one, other] = [processLocker(directory), processLocker(directory)]
    const lock = await one.acquire('a')
    const controller = new AbortController()
    const waiting = other.acquire('a', { signal: controller.signal })
    controller.abort(new Error('client closed'))
    await expect(waiting).rejects.toThrow('client closed')
    await lock.release()
    await (await other.acquire('a')).release()
  })

  it('releases the lock of a killed process', async () => {
    const directory = await temporaryDirectory()
    const child = await holder(directory, 'a')
    const locker = processLocker(directory)
    expect(await locker.tryAcquire('a')).toBeUndefined()
    const waiting = locker.acquire('a')
    // The holder gets the release request, and ignores it.
    await once(child, 'message')
    child.kill('SIGKILL')
    await (await waiting).release()
  })

  it('acquires a lock for a directory that does not exist yet', async () => {
    const directory = join(await temporaryDirectory(), 'missing')
    const lock = await processLocker(directory).acquire('a')
    expect(await processLocker(directory).tryAcquire('a')).toBeUndefined()
    await lock.release()
  })

  it('stays exclusive over 60 requests of three lockers', async () => {
    const directory = await temporaryDirectory()
    const lockers = [1, 2, 3].map(() => processLocker(directory))
    let holders = 0
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const lock = await lockers[i % 3]?.acquire('a')
        holders += 1
        expect(holders).toBe(1)
        await new Promise(setImmediate)
        holders -= 1
        await lock?.release()
      }),
    )
  })
})
