/** Machines that share a directory without reaching each other's sockets. */

import { readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LockServer } from '../../lib/locks/lock-server.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { temporaryDirectory } from '../support/directory.ts'

const machineFiles = async (directory: string): Promise<string[]> =>
  (await readdir(directory)).filter((name) => name.endsWith('.machine'))

/** Writes the file of another machine every second. Returns a function that ends this. */
function otherMachine(directory: string): () => void {
  const write = () => writeFile(join(directory, 'other.machine'), 'running nas 4711\n')
  const timer = setInterval(write, 200)
  onTestFinished(() => clearInterval(timer))
  return () => clearInterval(timer)
}

describe('processLocker of a directory', () => {
  it('that another machine uses rejects with one sentence, and starts after that machine has ended', async () => {
    const directory = await temporaryDirectory()
    const locker = processLocker(directory)
    const end = otherMachine(directory)
    await writeFile(join(directory, 'other.machine'), 'running nas 4711\n')
    const refused = locker.idPrefix?.()
    await expect(refused).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' })
    await expect(refused).rejects.toThrow(
      `${directory} is in use by another process (process 4711 on nas) that cannot be reached through a socket there`,
    )
    end()
    // The refused process leaves no file, because others would take it for running.
    expect(await readdir(directory)).toEqual(['other.machine'])
    const old = Date.now() / 1000 - 31
    await utimes(join(directory, 'other.machine'), old, old)
    expect(await locker.idPrefix?.()).toMatch(/^[0-9A-F]{6}$/)
    expect(await machineFiles(directory)).toEqual([expect.not.stringMatching('other')])
  })

  it('that another machine used until a moment ago waits until its file is certain not to change', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const directory = await temporaryDirectory()
    await writeFile(join(directory, 'other.machine'), 'running nas 4711\n')
    let started = false
    const prefix = processLocker(directory).idPrefix?.()
    void prefix?.then(() => {
      started = true
    })
    await vi.waitUntil(async () => (await machineFiles(directory)).length === 2)
    vi.advanceTimersByTime(14_000)
    expect(started).toBe(false)
    vi.advanceTimersByTime(1000)
    expect(await prefix).toMatch(/^[0-9A-F]{6}$/)
    expect(await machineFiles(directory)).toHaveLength(1)
  })

  it('that a container with another boot id uses starts if a socket of that container can be reached', async () => {
    const directory = await temporaryDirectory()
    const tag = await processLocker(directory).idPrefix?.()
    const file = join(directory, 'container.machine')
    await writeFile(file, `running nas 1 ${tag}\n`)
    expect(await processLocker(directory).idPrefix?.()).toMatch(/^[0-9A-F]{6}$/)
    expect(await readdir(directory)).toContain('container.machine')
  })

  it.each([
    ['and has removed the file of this one', true],
    ['', false],
  ])('that another machine begins to use while this process is stopped %s rejects', async (_, isRemoved) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const directory = await temporaryDirectory()
    const locker = processLocker(directory)
    await locker.idPrefix?.()
    const [own = ''] = await machineFiles(directory)
    if (isRemoved) await rm(join(directory, own))
    let written = 0
    await vi.waitUntil(
      async () => {
        await writeFile(join(directory, 'other.machine'), `running nas 4711\n${written++}`)
        vi.advanceTimersByTime(5000)
        const sockets = (await readdir(directory)).filter((name) => name.endsWith('.socket'))
        return sockets.length === 0
      },
      { timeout: 5000 },
    )
    const writer = (async () => {
      for (let i = 0; i < 50; i++) {
        await delay(50)
        await writeFile(join(directory, 'other.machine'), `running nas 4711\n${i}`)
      }
    })()
    await expect(locker.acquire('a')).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' })
    await writer
    expect(await readdir(directory)).toEqual(['other.machine'])
  })

  it('without sockets serves one process, and a second one rejects', async () => {
    const open = vi
      .spyOn(LockServer, 'open')
      .mockRejectedValueOnce(Object.assign(new Error('listen ENOTSUP'), { code: 'ENOTSUP' }))
    onTestFinished(() => open.mockRestore())
    const directory = await temporaryDirectory()
    const [first, second] = [processLocker(directory), processLocker(directory)]
    expect(await first.idPrefix?.()).toBeUndefined()
    const lock = await first.acquire('a')
    expect(await first.tryAcquire('a')).toBeUndefined()
    await expect(second.acquire('a')).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' })
    await lock.release()
    expect(await first.tryAcquire('a')).toBeDefined()
    await first.close()
    await (await second.acquire('a')).release()
  })

  it('rejects with the error of the system if the directory cannot be used', async () => {
    const missing = processLocker(join(await temporaryDirectory(), 'missing', 'locks'))
    await expect(missing.acquire('a')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(missing.tryAcquire('a')).rejects.toMatchObject({ code: 'ENOENT' })
    await missing.close()
  })
})
