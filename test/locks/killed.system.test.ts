/** Locks while the processes that hold them are killed or stopped. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { processLocker } from '../../lib/locks/process.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { lockFolders, newKey, setting } from './setting.ts'

/** A process that holds the lock of a new session, or of a key. */
async function holder(directory: string, givenKey?: string) {
  const program = fileURLToPath(new URL('holder.ts', import.meta.url))
  const child = fork(program, givenKey === undefined ? [directory] : [directory, givenKey], {
    execArgv: ['--import', 'tsx'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [key] = await once(child, 'message')
  return { child, key: key as string }
}

describe('The lock of a process that is killed or stopped', () => {
  it('is acquired after it is killed, by a request that has waited longer than its timeout', async () => {
    const directory = await temporaryDirectory()
    const { child, key } = await holder(directory)
    const waiting = processLocker(directory).acquire(key, { timeout: 200 })
    await delay(600)
    child.kill('SIGKILL')
    await (await waiting).release()
  })

  it('makes each of several requests fail one timeout after they began', async () => {
    const directory = await temporaryDirectory()
    const { child, key } = await holder(directory)
    const [locker, other] = [processLocker(directory), processLocker(directory)]
    child.kill('SIGSTOP')
    const startedAt = performance.now()
    const requests = Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? other : locker).acquire(key, { timeout: 500 }),
    )
    for (const { status, reason } of (await Promise.allSettled(requests)) as PromiseRejectedResult[]) {
      expect([status, reason.code]).toEqual(['rejected', 'session-busy'])
    }
    // One after the other they would take 5 seconds.
    expect(performance.now() - startedAt).toBeLessThan(2500)
  })

  it('makes the requests of all processes fail together', async () => {
    const directory = await temporaryDirectory()
    const [creator, other, third] = [
      processLocker(directory),
      processLocker(directory),
      processLocker(directory),
    ]
    const key = await newKey(creator)
    const { child } = await holder(directory, key)
    child.kill('SIGSTOP')
    const startedAt = performance.now()
    const requests = [creator, other, third, creator, other, third].map((locker) =>
      locker.acquire(key, { timeout: 1000 }),
    )
    for (const { status, reason } of (await Promise.allSettled(requests)) as PromiseRejectedResult[]) {
      expect([status, reason.code]).toEqual(['rejected', 'session-busy'])
    }
    expect(performance.now() - startedAt).toBeLessThan(1900)
  })

  it('is requested while it runs, and acquired after it is killed', async () => {
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

  it('causes session-busy while it is stopped, and other sessions stay available', async () => {
    const directory = await temporaryDirectory()
    const { child, key } = await holder(directory)
    const locker = processLocker(directory)
    child.kill('SIGSTOP')
    const controller = new AbortController()
    const waiting = locker.acquire(key, { signal: controller.signal })
    await (await locker.acquire(await newKey(processLocker(directory)))).release()
    controller.abort(new Error('client closed'))
    await expect(waiting).rejects.toThrow('client closed')
    await expect(locker.acquire(key, { timeout: 200 })).rejects.toMatchObject({ code: 'session-busy' })
    expect(await locker.tryAcquire(key)).toBeUndefined()
    child.kill('SIGCONT')
    const late = locker.acquire(key, { timeout: 60_000 })
    await once(child, 'message')
    child.kill('SIGKILL')
    await (await late).release()
  })

  it('excludes neither the creator nor others by a lock file, which is removed', async () => {
    const { directory, here, there, key } = await setting()
    for (const locker of [here, there, processLocker(directory)]) {
      const child = await holder(directory, key)
      expect(await lockFolders(directory)).toHaveLength(1)
      child.child.kill('SIGKILL')
      await once(child.child, 'exit')
      const lock = await locker.acquire(key)
      await lock.release()
      expect(await lockFolders(directory)).toEqual([])
    }
  })

  it('leaves files that the next process that starts removes', async () => {
    const directory = await temporaryDirectory()
    const child = await holder(directory, 'a')
    child.child.kill('SIGKILL')
    await once(child.child, 'exit')
    const hash = '0'.repeat(32)
    await mkdir(join(directory, `${hash}.ABCDEF`))
    await mkdir(join(directory, hash))
    await mkdir(join(directory, `1${hash.slice(1)}.ABCDEF`))
    await writeFile(join(directory, `1${hash.slice(1)}.ABCDEF`, 'ABCDEF'), '')
    const [socket = ''] = (await readdir(directory)).filter((name) => name.endsWith('.socket'))
    await processLocker(directory).idPrefix?.()
    expect(await lockFolders(directory)).toEqual([])
    // A young socket may be about to listen.
    expect(await readdir(directory)).toContain(socket)
    const old = Date.now() / 1000 - 61
    await utimes(join(directory, socket), old, old)
    await processLocker(directory).idPrefix?.()
    expect(await readdir(directory)).not.toContain(socket)
  })
})
