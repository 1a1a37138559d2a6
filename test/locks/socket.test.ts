/** Sockets of the lock protocol that cannot be created or reached, or answer what they should not. */

import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { LockServer } from '../../lib/locks/lock-server.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { ask, isListening } from '../../lib/locks/query.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { lockFolders, newKey, setting, socketOf } from './setting.ts'

describe('processLocker', () => {
  it.runIf(process.platform === 'linux')(
    'locks in a directory whose path is too long for a socket',
    async () => {
      const directory = join(await temporaryDirectory(), 'd'.repeat(200))
      const [one, other] = [processLocker(directory), processLocker(directory)]
      const lock = await one.acquire(await newKey(one))
      const key = await newKey(one)
      const second = await one.acquire(key)
      expect(await other.tryAcquire(key)).toBeUndefined()
      await second.release()
      await (await other.acquire(key)).release()
      await lock.release()
      await Promise.all([one.close(), other.close()])
    },
  )

  it('says that all processes must run as the same user if the directory belongs to another one', async () => {
    const open = vi.spyOn(LockServer, 'open')
    onTestFinished(() => open.mockRestore())
    open.mockRejectedValue(Object.assign(new Error('listen EACCES'), { code: 'EACCES' }))
    const directory = await temporaryDirectory()
    const failure = processLocker(directory).acquire('a')
    await expect(failure).rejects.toThrow(
      `${directory} cannot be used by this user: all processes that share it must run as the same user`,
    )
    await expect(failure).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('rejects with session-busy if a holder answers that it has released the lock, and keeps its lock file', async () => {
    const { directory, here, there, key } = await setting()
    await (await there.acquire(key)).release()
    const lock = await there.acquire(key)
    const [folder = ''] = await lockFolders(directory)
    await lock.release()
    await mkdir(join(directory, folder))
    await writeFile(join(directory, folder, 'ABCDEF'), '')
    const queries: string[] = []
    const holder = createServer((socket) =>
      socket.on('data', (query) => {
        queries.push(String(query))
        socket.end('free\n')
      }),
    ).listen(await socketOf(directory, 'ABCDEF'))
    onTestFinished(() => void holder.close())
    await once(holder, 'listening')
    for (const locker of [here, there]) {
      await expect(locker.acquire(key, { timeout: 150 })).rejects.toMatchObject({ code: 'session-busy' })
    }
    expect(queries.length).toBeGreaterThan(2)
    expect(new Set(queries)).toEqual(new Set([`wait 50 ${JSON.stringify(key)}\n`]))
    holder.close()
    await once(holder, 'close')
    await (await there.acquire(key)).release()
  })

  it('answers at once that the lock file of a lock that it holds without one is released', async () => {
    const { directory, here, key } = await setting()
    const lock = await here.acquire(key)
    const socket = connect(await socketOf(directory, await here.idPrefix?.()))
    socket.write(`wait 10 ${JSON.stringify(key)}\n`)
    expect(String(await once(socket, 'data'))).toBe('free\n')
    await lock.release()
  })
})

describe('A query', () => {
  // Named pipes of Windows have no parent that could be a file.
  it.skipIf(process.platform === 'win32')(
    'rejects with the error of the system if the address cannot be used',
    async () => {
      const address = join(await temporaryDirectory(), 'ABCDEF.socket')
      await writeFile(address, '')
      const parent = join(address, 'ABCDEF.socket')
      await expect(ask(parent, 'wait', 'a')).rejects.toMatchObject({ code: 'ENOTDIR' })
      await expect(isListening(parent)).rejects.toMatchObject({ code: 'ENOTDIR' })
    },
  )

  it('resolves to undefined if nothing has listened at the address, or no longer does', async () => {
    const address = await socketOf(await temporaryDirectory(), 'ABCDEF')
    expect(await ask(address, 'wait', 'a')).toBeUndefined()
    expect(await isListening(address)).toBe(false)
  })

  it('is aborted while it waits to be repeated, and fails after its timeout', async () => {
    const address = await socketOf(await temporaryDirectory(), 'ABCDEF')
    const server = createServer((socket) => socket.destroy()).listen(address)
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const controller = new AbortController()
    const waiting = ask(address, 'wait', 'a', { signal: controller.signal })
    await once(server, 'connection')
    controller.abort(new Error('client closed'))
    await expect(waiting).rejects.toThrow('client closed')
    await expect(ask(address, 'wait', 'a', { timeout: 120 })).rejects.toMatchObject({ code: 'session-busy' })
  })
})
