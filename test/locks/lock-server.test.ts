import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LockServer } from '../../lib/locks/lock-server.ts'
import { type Locker, lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { addressOf } from '../../lib/locks/socket-lock.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'

/** Two lockers of a directory, and the key of a new session of the first. */
async function setting() {
  const directory = await temporaryDirectory()
  const [here, there] = [processLocker(directory), processLocker(directory)]
  return { directory, here, there, key: await newKey(here) }
}

async function newKey(locker: Locker, path = '/upload/ü.bin'): Promise<string> {
  return lockKey({ id: newGuid(await locker.idPrefix?.()), owner: 'Jörg "J"', path })
}

/** A process that holds the lock of a new session. */
async function holder(directory: string) {
  const program = fileURLToPath(new URL('holder.ts', import.meta.url))
  const child = fork(program, [directory], { execArgv: ['--import', 'tsx'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [key] = await once(child, 'message')
  return { child, key: key as string }
}

const isNew = true

describe('processLocker for new sessions', () => {
  it('returns from idPrefix() its own constant prefix for session ids, six hexadecimal digits', async () => {
    const { here, there } = await setting()
    const [prefix, other] = [await here.idPrefix?.(), await there.idPrefix?.()]
    expect(prefix).toMatch(/^[0-9A-F]{6}$/)
    expect(other).not.toBe(prefix)
    expect(await here.idPrefix?.()).toBe(prefix)
    expect(newGuid(prefix).slice(0, 7)).toBe(`{${prefix}`)
  })

  it('excludes all other requests from the lock of a new session until its release', async () => {
    const { here, there, key } = await setting()
    const lock = await here.acquire(key, { isNew })
    expect(await there.tryAcquire(key)).toBeUndefined()
    expect(await here.tryAcquire(key)).toBeUndefined()
    const other = await there.acquire(await newKey(here))
    await other.release()
    await lock.release()
    await lock.release()
    const next = await there.tryAcquire(key)
    expect(next).toBeDefined()
    expect(await here.tryAcquire(key)).toBeUndefined()
    await next?.release()
    await (await here.acquire(key)).release()
  })

  it('calls onReleaseRequested once and grants the lock to the waiting requests one at a time', async () => {
    const { directory, here, there, key } = await setting()
    const requested = vi.fn()
    const lock = await here.acquire(key, { isNew, onReleaseRequested: requested })
    let holders = 1
    const others = [there, here, processLocker(directory)].map(async (locker) => {
      const next = await locker.acquire(key)
      expect(++holders).toBe(1)
      await new Promise(setImmediate)
      holders -= 1
      await next.release()
    })
    await vi.waitUntil(() => requested.mock.calls.length > 0)
    holders -= 1
    await lock.release()
    await Promise.all(others)
    expect(requested).toHaveBeenCalledTimes(1)
  })

  it('rejects a waiting request with the abort reason', async () => {
    const { here, there, key } = await setting()
    const lock = await here.acquire(key, { isNew })
    const controller = new AbortController()
    const waiting = there.acquire(key, { signal: controller.signal })
    controller.abort(new Error('client closed'))
    await expect(waiting).rejects.toThrow('client closed')
    await expect(there.acquire(key, { signal: controller.signal })).rejects.toThrow('client closed')
    await lock.release()
    await (await there.acquire(key)).release()
  })

  it('does not call onReleaseRequested for the same id with another path or owner', async () => {
    const { here, there } = await setting()
    const id = newGuid(await here.idPrefix?.())
    const requested = vi.fn()
    await here.acquire(lockKey({ id, path: '/a' }), { isNew, onReleaseRequested: requested })
    for (const other of [
      { id, path: '/b' },
      { id, path: '/a', owner: 'ann' },
    ]) {
      await (await there.acquire(lockKey(other))).release()
    }
    expect(requested).not.toHaveBeenCalled()
  })

  it('requests the release from a live process, and acquires the lock of a killed one', async () => {
    const directory = await temporaryDirectory()
    const locker = processLocker(directory)
    const { child, key } = await holder(directory)
    expect(await locker.tryAcquire(key)).toBeUndefined()
    const messages: unknown[] = []
    child.on('message', (message) => messages.push(message))
    const waiting = locker.acquire(key)
    await vi.waitUntil(() => messages.length > 0)
    expect(messages).toEqual(['requested'])
    child.kill('SIGKILL')
    await (await waiting).release()
    expect(await locker.tryAcquire(key)).toBeDefined()
  })

  it('keeps the lock of a stopped process, and other sessions stay available', async () => {
    const directory = await temporaryDirectory()
    const { child, key } = await holder(directory)
    const locker = processLocker(directory)
    child.kill('SIGSTOP')
    const controller = new AbortController()
    const waiting = locker.acquire(key, { signal: controller.signal })
    await (await locker.acquire(await newKey(processLocker(directory)))).release()
    controller.abort(new Error('client closed'))
    await expect(waiting).rejects.toThrow('client closed')
    expect(await locker.tryAcquire(key)).toBeUndefined()
  })

  it('queries the lock server again when the connection breaks before the answer', async () => {
    const { there } = await setting()
    const prefix = 'ABCDEF'
    const queryLengths: number[] = []
    const server = createServer((socket) => {
      socket.on('data', ({ length }) => {
        queryLengths.push(length)
        if (queryLengths.length < 3) socket.destroy()
        else socket.end(queryLengths.length === 3 ? 'h' : 'f')
      })
    }).listen(addressOf(`home-${prefix}`))
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const key = lockKey({ id: newGuid(prefix), path: '/a' })
    expect(await there.tryAcquire(key)).toBeUndefined()
    expect(queryLengths).toEqual([103, 103, 103])
    expect(await there.tryAcquire(key)).toBeDefined()
  })
})

describe('Lock server', () => {
  it('closes a minute after its last lock was released, and the next one has another prefix', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { here, there, key } = await setting()
    const prefix = await here.idPrefix?.()
    const lock = await here.acquire(key, { isNew })
    vi.advanceTimersByTime(600_000)
    expect(await here.idPrefix?.()).toBe(prefix)
    await lock.release()
    vi.advanceTimersByTime(59_999)
    expect(await here.idPrefix?.()).toBe(prefix)
    vi.advanceTimersByTime(1)
    const [error] = await once(connect(addressOf(`home-${prefix}`)), 'error')
    expect(error).toMatchObject({ code: 'ECONNREFUSED' })
    expect(await here.idPrefix?.()).not.toBe(prefix)
    // A new session whose id has the earlier prefix.
    const late = await here.acquire(key, { isNew })
    expect(await there.tryAcquire(key)).toBeUndefined()
    await late.release()
    await (await there.acquire(key)).release()
  })

  it('is asked by its own process, too, if another process got the prefix of a closed one', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { here, key } = await setting()
    const prefix = await here.idPrefix?.()
    vi.advanceTimersByTime(60_000)
    const held = createServer((socket) => void socket.on('data', () => socket.end('h')))
    await vi.waitFor(
      () =>
        new Promise<void>((resolve, reject) => {
          held.once('error', reject).listen(addressOf(`home-${prefix}`), resolve)
        }),
    )
    onTestFinished(() => void held.close())
    expect(await here.tryAcquire(key)).toBeUndefined()
  })

  it('is opened again after it failed to open', async () => {
    const { promise, reject } = withResolvers<LockServer>()
    const open = vi.spyOn(LockServer, 'open').mockReturnValueOnce(promise)
    onTestFinished(() => open.mockRestore())
    const locker = processLocker(await temporaryDirectory())
    const failed = locker.idPrefix?.()
    const next = locker.idPrefix?.()
    reject(new Error('EMFILE'))
    expect(await failed).toBeUndefined()
    expect(await next).toMatch(/^[0-9A-F]{6}$/)
    expect(await locker.idPrefix?.()).toBe(await next)
  })

  it('continues after empty, oversized and malformed queries', async () => {
    const { here, there, key } = await setting()
    const prefix = await here.idPrefix?.()
    const lock = await here.acquire(key, { isNew })
    for (const text of ['', 'x', 'x'.repeat(200_000), `w${'{'.repeat(102)}`, `w${key}`]) {
      const socket = connect(addressOf(`home-${prefix}`)).on('error', () => {})
      socket.end(text).resume()
      await once(socket, 'close')
    }
    expect(await there.tryAcquire(key)).toBeUndefined()
    await lock.release()
    expect(await there.tryAcquire(key)).toBeDefined()
  })
})
