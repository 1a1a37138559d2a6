import { fork } from 'node:child_process'
import { once } from 'node:events'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { processLocker } from '../../lib/locks/processes.ts'
import { temporaryDirectory } from '../support/directory.ts'

describe('processLocker', () => {
  it('serves one at a time, among all lockers of a directory, by whatever path', async () => {
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

  it('tells the holder that it is wanted, once', async () => {
    const directory = await temporaryDirectory()
    const lockers = [1, 2, 3].map(() => processLocker(directory))
    const wanted = vi.fn()
    const lock = await lockers[0]?.acquire('a', { onWanted: wanted })
    const others = lockers.slice(1).map((locker) => locker.acquire('a'))
    await vi.waitUntil(() => wanted.mock.calls.length > 0)
    const local = lockers[0]?.acquire('a')
    await lock?.release()
    for (const other of [...others, local]) void other?.then((next) => next.release())
    await Promise.all([...others, local])
    expect(wanted).toHaveBeenCalledTimes(1)
  })

  it('lets those who wait give up', async () => {
    const directory = await temporaryDirectory()
    const [one, other] = [processLocker(directory), processLocker(directory)]
    const lock = await one.acquire('a')
    const controller = new AbortController()
    const waiting = other.acquire('a', { signal: controller.signal })
    controller.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await lock.release()
    await (await other.acquire('a')).release()
  })

  it('holds nothing for a process that is dead', async () => {
    const directory = await temporaryDirectory()
    const program = fileURLToPath(new URL('holder.ts', import.meta.url))
    const child = fork(program, [directory, 'a'], { execArgv: ['--import', 'tsx'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    await once(child, 'message')
    const locker = processLocker(directory)
    expect(await locker.tryAcquire('a')).toBeUndefined()
    const waiting = locker.acquire('a')
    // It learns that it is wanted, and does not care.
    await once(child, 'message')
    child.kill('SIGKILL')
    await (await waiting).release()
  })

  it('begins before its directory does', async () => {
    const directory = join(await temporaryDirectory(), 'not yet')
    const lock = await processLocker(directory).acquire('a')
    expect(await processLocker(directory).tryAcquire('a')).toBeUndefined()
    await lock.release()
  })
})
