/** Machines that share a directory without reaching each other's sockets. */

import { readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LockServer } from '../../lib/locks/lock-server.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { temporaryDirectory } from '../support/directory.ts'

const machineFiles = async (directory: string): Promise<string[]> =>
  (await readdir(directory)).filter((name) => name.endsWith('.machine'))

/** Writes the file of another machine every second. Returns a function that ends this. */
function otherMachine(directory: string): () => void {
  const write = () => writeFile(join(directory, 'other.machine'), 'nas 4711\n')
  const timer = setInterval(write, 200)
  onTestFinished(() => clearInterval(timer))
  return () => clearInterval(timer)
}

describe('processLocker of a directory', () => {
  it('that another machine uses rejects with one sentence, and starts after that machine has ended', async () => {
    const directory = await temporaryDirectory()
    const locker = processLocker(directory)
    const end = otherMachine(directory)
    await writeFile(join(directory, 'other.machine'), 'nas 4711\n')
    const refused = locker.idPrefix?.()
    await expect(refused).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' })
    await expect(refused).rejects.toThrow(
      `${directory} is in use by another process that cannot be reached through a socket there (host nas, process 4711)`,
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
    await writeFile(join(directory, 'other.machine'), 'nas 4711\n')
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
