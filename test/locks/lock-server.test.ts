import { once } from 'node:events'
import { mkdir, readdir, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LockServer } from '../../lib/locks/lock-server.ts'
import { lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { lockFolders, newKey, setting, socketOf } from './setting.ts'

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

  it('rejects with session-busy while another process borrows the lock and is silent', async () => {
    const { directory, here, there, key } = await setting()
    const borrower = connect(await socketOf(directory, await here.idPrefix?.()))
    borrower.write(`borrow 0 ${JSON.stringify(key)}\n`)
    await once(borrower, 'data')
    const busy = { code: 'session-busy' }
    await Promise.all([
      expect(here.acquire(key, { timeout: 200 })).rejects.toMatchObject(busy),
      expect(there.acquire(key, { timeout: 200 })).rejects.toMatchObject(busy),
    ])
    expect(await there.tryAcquire(key)).toBeUndefined()
    borrower.destroy()
    await (await there.acquire(key)).release()
  })

  it('accepts every character in a path and an owner', async () => {
    const { here, there } = await setting()
    const id = newGuid(await here.idPrefix?.())
    for (const text of ['\u2028', '\u2029', '\n', '"', '\\', '\ud83d', '\u{1f600}', '\0', 'ü'.repeat(5000)]) {
      const key = lockKey({ id, owner: text, path: `/upload/${text}` })
      const lock = await here.acquire(key)
      expect(await there.tryAcquire(key)).toBeUndefined()
      await lock.release()
      await (await there.acquire(key)).release()
    }
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

  it('waits longer than the timeout for a holder that runs, as creator and by a lock file', async () => {
    const { here, there, key } = await setting()
    for (const [one, other] of [
      [here, there],
      [there, here],
    ] as const) {
      const lock = await one.acquire(key)
      const waiting = other.acquire(key, { timeout: 150 })
      await delay(500)
      await lock.release()
      await (await waiting).release()
    }
  })

  it('queries the creator again when the connection breaks before the answer', async () => {
    const { directory, there } = await setting()
    const prefix = 'ABCDEF'
    const queries: string[] = []
    const server = createServer((socket) => {
      socket.on('data', (query) => {
        queries.push(String(query))
        if (queries.length < 3) socket.destroy()
        else socket.write(queries.length === 3 ? 'held\n' : 'free\n')
      })
    }).listen(await socketOf(directory, prefix))
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const key = lockKey({ id: newGuid(prefix), path: '/a' })
    expect(await there.tryAcquire(key)).toBeUndefined()
    expect(new Set(queries)).toEqual(new Set([`try 334 ${JSON.stringify(key)}\n`]))
    expect(queries).toHaveLength(3)
    const lock = await there.tryAcquire(key)
    await lock?.release()
    expect(lock).toBeDefined()
  })
})

describe('Lock files', () => {
  it('exist only while a process that did not create the session holds its lock', async () => {
    const { directory, here, there, key } = await setting()
    await (await here.acquire(key, { isNew })).release()
    const own = await here.acquire(key)
    expect(await lockFolders(directory)).toEqual([])
    await own.release()
    const other = await there.acquire(key)
    expect(await lockFolders(directory)).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/)])
    await other.release()
    expect(await lockFolders(directory)).toEqual([])
  })

  // Named pipes of Windows are no files.
  it.skipIf(process.platform === 'win32')(
    'of a running process stay when another process starts',
    async () => {
      const { directory, there, key } = await setting()
      const lock = await there.acquire(key)
      const socket = join(directory, `${await there.idPrefix?.()}.socket`)
      const old = Date.now() / 1000 - 61
      await utimes(socket, old, old)
      await processLocker(directory).idPrefix?.()
      expect(await lockFolders(directory)).toHaveLength(1)
      expect(await readdir(directory)).toContain(`${await there.idPrefix?.()}.socket`)
      await lock.release()
    },
  )

  /** A lock file of a process that runs and does not hold the lock. */
  async function unusedFile() {
    const scene = await setting()
    const lock = await scene.there.acquire(scene.key)
    const [folder = ''] = await lockFolders(scene.directory)
    const tag = String(await scene.there.idPrefix?.())
    await lock.release()
    await mkdir(join(scene.directory, folder))
    await writeFile(join(scene.directory, folder, tag), '')
    return { ...scene, folder: join(scene.directory, folder) }
  }

  it('that the holder could not remove are removed when another process waits', async () => {
    const { directory, here, key } = await unusedFile()
    expect(await here.tryAcquire(key)).toBeUndefined()
    await (await here.acquire(key)).release()
    expect(await lockFolders(directory)).toEqual([])
  })

  it('that the holder could not remove do not exclude the holder', async () => {
    const { directory, there, key } = await unusedFile()
    await (await there.acquire(key)).release()
    expect(await lockFolders(directory)).toEqual([])
  })

  it('that are none cause an error that says what to remove', async () => {
    const { here, there, key, folder } = await unusedFile()
    await rm(folder, { recursive: true })
    await mkdir(folder)
    await writeFile(join(folder, '.DS_Store'), '')
    for (const locker of [here, there]) {
      const text = `${folder} contains .DS_Store, which is no lock file: remove it`
      await expect(locker.acquire(key)).rejects.toThrow(text)
      await expect(locker.tryAcquire(key)).rejects.toThrow(text)
    }
    await rm(folder, { recursive: true })
    await (await here.acquire(key)).release()
  })

  it('that cannot be created cause the error of the system', async () => {
    const { directory, there, key, folder } = await unusedFile()
    await rm(folder, { recursive: true })
    await writeFile(`${folder}.${await there.idPrefix?.()}`, '')
    await expect(there.acquire(key)).rejects.toMatchObject({ code: 'ENOTDIR' })
    await rm(`${folder}.${await there.idPrefix?.()}`)
    await (await there.acquire(key)).release()
    expect(await lockFolders(directory)).toEqual([])
  })
})

describe('Lock server', () => {
  it('is opened again after it failed to open', async () => {
    const { promise, reject } = withResolvers<LockServer>()
    const open = vi.spyOn(LockServer, 'open').mockReturnValueOnce(promise)
    onTestFinished(() => open.mockRestore())
    const locker = processLocker(await temporaryDirectory())
    const failed = locker.idPrefix?.()
    const next = locker.idPrefix?.()
    await vi.waitUntil(() => open.mock.calls.length > 0)
    reject(new Error('EMFILE'))
    await expect(failed).rejects.toThrow('EMFILE')
    await expect(next).rejects.toThrow('EMFILE')
    const prefix = await locker.idPrefix?.()
    expect(prefix).toMatch(/^[0-9A-F]{6}$/)
    expect(await locker.idPrefix?.()).toBe(prefix)
  })

  it('continues after empty, oversized and malformed queries', async () => {
    const { directory, here, there, key } = await setting()
    const socketPath = await socketOf(directory, await here.idPrefix?.())
    const lock = await here.acquire(key, { isNew })
    const query = `borrow 0 ${JSON.stringify(key)}\n`
    const malformed = [
      '',
      'x',
      '\n',
      'x'.repeat(400_000),
      `${query}x`,
      'try 0 "\\u"\n',
      'try 0 {}\n',
      query.slice(1),
    ]
    for (const text of malformed) {
      const socket = connect(socketPath).on('error', () => {})
      socket.end(text).resume()
      // `once` would reject with the error that the server destroyed the connection.
      await new Promise((resolve) => socket.on('close', resolve))
    }
    expect(await there.tryAcquire(key)).toBeUndefined()
    await lock.release()
    expect(await there.tryAcquire(key)).toBeDefined()
  })

  it('closes connections that send no query', async () => {
    const { directory, here } = await setting()
    const socket = connect(await socketOf(directory, await here.idPrefix?.()))
    await once(socket.resume(), 'close')
  })

  it('ends the loan of a lock with the connection', async () => {
    const { directory, here, key } = await setting()
    const path = await socketOf(directory, await here.idPrefix?.())
    const borrow = async (): Promise<Socket> => {
      const socket = connect(path)
      socket.write(`borrow 0 ${JSON.stringify(key)}\n`)
      expect(String(await once(socket, 'data'))).toBe('free\n')
      return socket
    }
    const borrower = await borrow()
    expect(await here.tryAcquire(key)).toBeUndefined()
    const waiting = here.acquire(key)
    borrower.destroy()
    await (await waiting).release()
    // A client that gives up while it waits.
    const lock = await here.acquire(key)
    const impatient = connect(path)
    impatient.write(`borrow 0 ${JSON.stringify(key)}\n`)
    await once(impatient, 'connect')
    impatient.destroy()
    await lock.release()
    await (await here.acquire(key)).release()
  })

  // Named pipes of Windows cannot be removed.
  it.skipIf(process.platform === 'win32')(
    'is opened again, with another tag, within five seconds after its socket was removed',
    async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => void vi.useRealTimers())
      const { directory, here, there, key } = await setting()
      const prefix = await here.idPrefix?.()
      await unlink(join(directory, `${prefix}.socket`))
      await vi.waitUntil(async () => {
        vi.advanceTimersByTime(5000)
        return (await here.idPrefix?.()) !== prefix
      })
      const again = await here.idPrefix?.()
      vi.advanceTimersByTime(20_000)
      const lock = await here.acquire(key)
      expect(await there.tryAcquire(key)).toBeUndefined()
      await lock.release()
      expect(await here.idPrefix?.()).toBe(again)
    },
  )

  it('is opened again by the next request after the directory was removed', async () => {
    const directory = join(await temporaryDirectory(), 'locks')
    const locker = processLocker(directory)
    await (await locker.acquire('a')).release()
    const prefix = await locker.idPrefix?.()
    await rm(directory, { recursive: true })
    const lock = await locker.acquire('a')
    expect(await locker.idPrefix?.()).not.toBe(prefix)
    expect(await processLocker(directory).tryAcquire('a')).toBeUndefined()
    await lock.release()
  })

  // Named pipes of Windows are not in the directory.
  it.skipIf(process.platform === 'win32')(
    'stays open while the directory cannot be read for a moment',
    async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      onTestFinished(() => void vi.useRealTimers())
      const parent = await temporaryDirectory()
      const [path, target] = [join(parent, 'link'), join(parent, 'target')]
      await mkdir(target)
      await symlink(target, path)
      const locker = processLocker(path)
      const prefix = await locker.idPrefix?.()
      await unlink(path)
      // ELOOP
      await symlink(path, path)
      vi.advanceTimersByTime(20_000)
      await delay(100)
      await unlink(path)
      await symlink(target, path)
      vi.advanceTimersByTime(5000)
      await delay(100)
      expect(await locker.idPrefix?.()).toBe(prefix)
    },
  )

  it('removes its directory when it is closed as the last one', async () => {
    const directory = join(await temporaryDirectory(), 'locks')
    const [one, other] = [processLocker(directory), processLocker(directory)]
    const lock = await one.acquire('a')
    await (await other.acquire('b')).release()
    await other.close()
    expect(await other.tryAcquire('a')).toBeUndefined()
    await other.close()
    await lock.release()
    await one.close()
    await expect(readdir(directory)).rejects.toMatchObject({ code: 'ENOENT' })
    await one.close()
  })
})
