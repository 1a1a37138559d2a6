import { fork } from 'node:child_process'
import { once } from 'node:events'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Lock } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/processes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { leaving } from './leavings.ts'

/** A process that holds a lock, or keeps it. */
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
    controller.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await lock.release()
    await (await other.acquire('a')).release()
  })

  it('releases the lock of a killed process', async () => {
    const directory = await temporaryDirectory()
    const child = await holder(directory, 'a')
    const locker = processLocker(directory)
    expect(await locker.tryAcquire('a')).toBeUndefined()
    const waiting = locker.acquire('a')
    // It learns that it is wanted, and does not care.
    await once(child, 'message')
    child.kill('SIGKILL')
    await (await waiting).release()
  })

  it('acquires a lock for a directory that does not exist yet', async () => {
    const directory = join(await temporaryDirectory(), 'not yet')
    const lock = await processLocker(directory).acquire('a')
    expect(await processLocker(directory).tryAcquire('a')).toBeUndefined()
    await lock.release()
  })
})

describe('processLocker leave()', () => {
  it('passes the value and the lock to the next holder and drops the value once', async () => {
    const locker = processLocker(await temporaryDirectory())
    const [thing, other] = [leaving(), leaving()]
    ;(await locker.acquire('a')).leave?.(thing)
    const second = await locker.acquire('a')
    expect(second.left).toBe(thing)
    second.leave?.(thing)
    second.leave?.(other)
    await second.release()
    const third = await locker.tryAcquire('a')
    expect([third?.left, thing.drops]).toEqual([thing, 0])
    third?.leave?.(other)
    expect([thing.drops, other.drops]).toEqual([1, 0])
    const fourth = await locker.acquire('a')
    await fourth.release()
    await fourth.release()
    fourth.leave?.(thing)
    expect([thing.drops, other.drops]).toEqual([1, 1])
    expect((await locker.acquire('a')).left).toBeUndefined()
  })

  it('drops the value at once when another process acquires the lock', async () => {
    const directory = await temporaryDirectory()
    const child = await holder(directory, 'a', 'leave')
    const messages: unknown[] = []
    child.on('message', (message) => messages.push(message))
    const lock = await processLocker(directory).acquire('a')
    expect(lock.left).toBeUndefined()
    await vi.waitUntil(() => messages.length > 0)
    expect(messages).toEqual(['dropped'])
    await lock.release()
  })

  it('keeps the lock while its process lives and releases it when the process is killed', async () => {
    const directory = await temporaryDirectory()
    const child = await holder(directory, 'a', 'leave')
    const locker = processLocker(directory)
    // It is not free as long as another process keeps it.
    expect(await locker.tryAcquire('a')).toBeUndefined()
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lock = await locker.tryAcquire('a')
    expect(lock).toBeDefined()
    await lock?.release()
  })

  it('drops the value when another locker already waits, also during a handover', async () => {
    const directory = await temporaryDirectory()
    const [one, other] = [processLocker(directory), processLocker(directory)]
    const thing = leaving()
    const wanted = vi.fn()
    const lock = await one.acquire('a', { onReleaseRequested: wanted })
    const waiting = other.acquire('a')
    await vi.waitUntil(() => wanted.mock.calls.length > 0)
    lock.leave?.(thing)
    expect(thing.drops).toBe(1)
    ;(await waiting).leave?.(leaving())

    // It comes before the next holder of the same process learns that it is one.
    const next = await one.acquire('a')
    const local: Promise<Lock> = one.acquire('a', {
      onReleaseRequested: () => void local.then((held) => held.release()),
    })
    const far = other.acquire('a')
    next.leave?.(leaving())
    expect((await far).left).toBeUndefined()
    await (await far).release()
  })

  it('drops all values and releases their locks on letGo()', async () => {
    const directory = await temporaryDirectory()
    const [one, other] = [processLocker(directory), processLocker(directory)]
    const things = [leaving(), leaving()]
    for (const [i, thing] of things.entries()) (await one.acquire(`${i}`)).leave?.(thing)
    expect(await other.tryAcquire('0')).toBeUndefined()
    one.letGo?.()
    expect(things.map(({ drops }) => drops)).toEqual([1, 1])
    expect(await other.tryAcquire('0')).toBeDefined()
    expect(await other.tryAcquire('1')).toBeDefined()
  })

  it('stays exclusive over 60 requests of three lockers and passes only the latest value', async () => {
    const directory = await temporaryDirectory()
    const lockers = [1, 2, 3].map(() => processLocker(directory))
    let holders = 0
    let last: object | undefined
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const lock = await lockers[i % 3]?.acquire('a')
        holders += 1
        expect(holders).toBe(1)
        // What is left is what the very last holder left, or nothing.
        if (lock?.left) expect(lock.left).toBe(last)
        await new Promise(setImmediate)
        holders -= 1
        const thing = leaving()
        last = thing
        if (i % 4 === 0) await lock?.release()
        else lock?.leave?.(thing)
      }),
    )
  })
})
