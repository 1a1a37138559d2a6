import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { lockKey } from '../../lib/locks/locker.ts'
import { addressOf } from '../../lib/locks/processes/address.ts'
import { Home } from '../../lib/locks/processes/home.ts'
import { processLocker } from '../../lib/locks/processes.ts'
import { newGuid } from '../../lib/protocol/guid.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { leaving } from './leavings.ts'

/** Two lockers of a directory, and a session that begins with the first. */
async function setting() {
  const directory = await temporaryDirectory()
  const [here, there] = [processLocker(directory), processLocker(directory)]
  const name = await nameAt(here)
  return { directory, here, there, name }
}

async function nameAt({ mark }: ReturnType<typeof processLocker>, path = '/upload/ü.bin'): Promise<string> {
  return lockKey({ id: newGuid(await mark?.()), owner: 'Jörg "J"', path })
}

/** A process in which a session began, that holds it, or keeps it. */
async function holder(directory: string, manner: 'begin' | 'begin and leave') {
  const program = fileURLToPath(new URL('holder.ts', import.meta.url))
  const child = fork(program, [directory, '', manner], { execArgv: ['--import', 'tsx'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [name] = await once(child, 'message')
  return { child, name: name as string }
}

describe('processLocker for new sessions', () => {
  it('returns from mark() its own constant prefix for session ids, six hexadecimal digits', async () => {
    const { here, there } = await setting()
    const [mark, other] = [await here.mark?.(), await there.mark?.()]
    expect(mark).toMatch(/^[0-9A-F]{6}$/)
    expect(other).not.toBe(mark)
    expect(await here.mark?.()).toBe(mark)
    expect(newGuid(mark).slice(0, 7)).toBe(`{${mark}`)
  })

  it('excludes all other requests from a lock of begin() until its release', async () => {
    const { here, there, name } = await setting()
    const lock = await here.begin?.(name)
    expect(await there.tryAcquire(name)).toBeUndefined()
    expect(await here.tryAcquire(name)).toBeUndefined()
    const other = await there.acquire(await nameAt(here))
    await other.release()
    await lock?.release()
    await lock?.release()
    const next = await there.tryAcquire(name)
    expect(next).toBeDefined()
    expect(await here.tryAcquire(name)).toBeUndefined()
    await next?.release()
    await (await here.acquire(name)).release()
  })

  it('calls onReleaseRequested once and grants the lock to the waiting requests one at a time', async () => {
    const { directory, here, there, name } = await setting()
    ;(await here.begin?.(name))?.leave?.(leaving())
    const wanted = vi.fn()
    const lock = await here.acquire(name, { onReleaseRequested: wanted })
    expect(lock.left).toBeDefined()
    let holders = 1
    const others = [there, here, processLocker(directory)].map(async (locker) => {
      const next = await locker.acquire(name)
      expect(++holders).toBe(1)
      await new Promise(setImmediate)
      holders -= 1
      await next.release()
    })
    await vi.waitUntil(() => wanted.mock.calls.length > 0)
    holders -= 1
    await lock.release()
    await Promise.all(others)
    expect(wanted).toHaveBeenCalledTimes(1)
  })

  it('rejects a waiting request with the abort reason', async () => {
    const { here, there, name } = await setting()
    const lock = await here.begin?.(name)
    const controller = new AbortController()
    const waiting = there.acquire(name, { signal: controller.signal })
    controller.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    await expect(there.acquire(name, { signal: controller.signal })).rejects.toThrow('gone')
    await lock?.release()
    await (await there.acquire(name)).release()
  })

  it('does not call onReleaseRequested for the same id with another path or owner', async () => {
    const { here, there } = await setting()
    const id = newGuid(await here.mark?.())
    const wanted = vi.fn()
    ;(await here.begin?.(lockKey({ id, path: '/a' })))?.leave?.(leaving())
    await here.acquire(lockKey({ id, path: '/a' }), { onReleaseRequested: wanted })
    for (const other of [
      { id, path: '/b' },
      { id, path: '/a', owner: 'somebody' },
    ]) {
      await (await there.acquire(lockKey(other))).release()
    }
    expect(wanted).not.toHaveBeenCalled()
  })

  it('returns the value of leave() to the same locker, and drops it for another one', async () => {
    const { here, there, name } = await setting()
    const [thing, other] = [leaving(), leaving()]
    ;(await here.begin?.(name))?.leave?.(thing)
    const again = await here.acquire(name)
    expect(again.left).toBe(thing)
    again.leave?.(thing)
    expect(await there.tryAcquire(name)).toBeUndefined()
    expect(thing.drops).toBe(0)
    const far = await there.acquire(name)
    expect([far.left, thing.drops]).toEqual([undefined, 1])
    far.leave?.(other)
    const back = await here.acquire(name)
    expect([back.left, other.drops]).toEqual([undefined, 1])
    expect(await there.tryAcquire(name)).toBeUndefined()
    await back.release()
  })

  it('releases the lock of a killed process, and makes a live one drop its cached value', async () => {
    const directory = await temporaryDirectory()
    const locker = processLocker(directory)
    const held = await holder(directory, 'begin')
    const left = await holder(directory, 'begin and leave')
    expect(await locker.tryAcquire(held.name)).toBeUndefined()
    const messages: unknown[] = []
    left.child.on('message', (message) => messages.push(message))
    await (await locker.acquire(left.name)).release()
    await vi.waitUntil(() => messages.length > 0)
    expect(messages).toEqual(['dropped'])
    const waiting = locker.acquire(held.name)
    held.child.kill('SIGKILL')
    await (await waiting).release()
    expect(await locker.tryAcquire(held.name)).toBeDefined()
  })

  it('keeps the lock of a stopped process, and other sessions stay available', async () => {
    const directory = await temporaryDirectory()
    const { child, name } = await holder(directory, 'begin')
    const locker = processLocker(directory)
    child.kill('SIGSTOP')
    const controller = new AbortController()
    const waiting = locker.acquire(name, { signal: controller.signal })
    await (await locker.acquire(await nameAt(processLocker(directory)))).release()
    controller.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
    expect(await locker.tryAcquire(name)).toBeUndefined()
  })

  it('queries the lock server again when the connection breaks before the answer', async () => {
    const { there } = await setting()
    const mark = 'ABCDEF'
    const heard: number[] = []
    const home = createServer((socket) => {
      socket.on('data', ({ length }) => {
        heard.push(length)
        if (heard.length < 3) socket.destroy()
        else socket.end(heard.length === 3 ? 'h' : 'f')
      })
    }).listen(addressOf(`home-${mark}`))
    onTestFinished(() => void home.close())
    await once(home, 'listening')
    const name = lockKey({ id: newGuid(mark), path: '/a' })
    expect(await there.tryAcquire(name)).toBeUndefined()
    expect(heard).toEqual([103, 103, 103])
    expect(await there.tryAcquire(name)).toBeDefined()
  })
})

describe('Process lock server', () => {
  it('is replaced on letGo(), which drops cached values, and closes with its last lock', async () => {
    const { here, there, name } = await setting()
    const mark = await here.mark?.()
    const lock = await here.begin?.(name)
    const thing = leaving()
    ;(await here.begin?.(await nameAt(here)))?.leave?.(thing)
    here.letGo?.()
    expect(thing.drops).toBe(1)
    expect(await here.mark?.()).not.toBe(mark)
    expect(await there.tryAcquire(name)).toBeUndefined()
    await lock?.release()
    const heard = connect(addressOf(`home-${mark}`))
    const [error] = await once(heard, 'error')
    expect(error).toMatchObject({ code: 'ECONNREFUSED' })
    // Its id still has the old mark.
    const late = await here.begin?.(name)
    expect(await there.tryAcquire(name)).toBeUndefined()
    await late?.release()
    await (await there.acquire(name)).release()
  })

  it('stays in use when an earlier one fails to open', async () => {
    const { promise, reject } = withResolvers<Home>()
    const open = vi.spyOn(Home, 'open').mockReturnValueOnce(promise)
    onTestFinished(() => open.mockRestore())
    const locker = processLocker(await temporaryDirectory())
    const none = locker.mark?.()
    locker.letGo?.()
    const mark = await locker.mark?.()
    reject(new Error('EMFILE'))
    expect(await none).toBeUndefined()
    expect(await locker.mark?.()).toBe(mark)
  })

  it('continues after empty, oversized and malformed queries', async () => {
    const { here, there, name } = await setting()
    const mark = await here.mark?.()
    const lock = await here.begin?.(name)
    for (const text of ['', 'x', 'x'.repeat(200_000), `w${'{'.repeat(102)}`, `w${name}`]) {
      const socket = connect(addressOf(`home-${mark}`)).on('error', () => {})
      socket.end(text).resume()
      await once(socket, 'close')
    }
    expect(await there.tryAcquire(name)).toBeUndefined()
    await lock?.release()
    expect(await there.tryAcquire(name)).toBeDefined()
  })
})
