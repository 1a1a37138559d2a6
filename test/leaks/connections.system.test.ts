/** What ten thousand connections leave in the process. */
import { channel, hasSubscribers } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import http from 'node:http'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { acceptBitsPostEverywhere } from '../../lib/http/bits-post/accept.ts'
import { closeAll, Host, plain } from '../http/bits-post/raw-connection.ts'

beforeAll(acceptBitsPostEverywhere)
afterEach(closeAll)

const BITS = 'BITS_POST /up HTTP/1.1\r\nHost: x\r\n\r\n'

describe('10,000 connections', () => {
  it('leave no listeners, fewer than 100 live sockets and less than 2 MB of heap', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const settle = async () => {
      for (let i = 0; i < 5; i++) {
        await turn()
        gc()
      }
      return process.memoryUsage().heapUsed
    }
    const server = http.createServer((req, res) => {
      res.end(req.method)
    })
    const host = await Host.start(plain, server)
    const sockets: WeakRef<Socket>[] = []
    server.on('connection', (socket) => sockets.push(new WeakRef(socket)))

    const listeners = (emitter: EventEmitter) =>
      emitter.eventNames().map((name) => `${String(name)} ${emitter.listenerCount(name)}`)
    const subscribers = () =>
      (channel('net.server.socket') as unknown as { _subscribers: unknown[] })._subscribers.length
    const count = () => ({
      server: listeners(server),
      process: listeners(process),
      subscribers: subscribers(),
    })

    // One that closes by itself, one that is kept alive, one that is refused, one that is cut off.
    const kinds = [
      BITS.replace('x', 'x\r\nConnection: close'),
      BITS + BITS.slice(0, 4),
      'BITS_PUT / ',
      BITS.slice(0, 12),
    ]
    let answers = 0
    const visit = (text: string) =>
      new Promise<void>((resolve) => {
        const socket = plain.dial(host.port)
        socket.on('data', (data) => {
          if (data.includes('BITS_POST')) answers++
          socket.destroy()
        })
        socket.on('error', () => {})
        socket.on('close', () => resolve())
        if (text === kinds[3]) socket.end(text)
        else socket.write(text)
      })
    let visits = 0
    const visitAll = async (times: number) => {
      const end = visits + times
      const worker = async () => {
        while (visits < end) await visit(kinds[visits++ % 4] as string)
      }
      await Promise.all(Array.from({ length: 64 }, worker))
      while (host.peers.size > 0) await turn()
    }

    const settled = async () => {
      const heap = await settle()
      const alive = sockets.filter((socket) => socket.deref()).length
      sockets.length = 0
      return { heap, alive }
    }

    await visitAll(2000)
    const before = { ...count(), ...(await settled()) }
    expect(before.subscribers).toBe(1)
    // Where V8 does not share hidden classes: see shape.test.ts.
    expect(hasSubscribers('http.server.request.start')).toBe(Number.parseInt(process.versions.v8, 10) < 13)
    await visitAll(8000)
    const { heap, alive } = await settled()
    expect(count()).toEqual({
      server: before.server,
      process: before.process,
      subscribers: before.subscribers,
    })
    expect(visits).toBe(10_000)
    // The second of each four is refused for the pipelined half request if that overtakes its answer.
    expect(answers).toBeGreaterThanOrEqual(2500)
    expect(alive).toBeLessThan(100)
    // Half of it is the WeakRefs above. One of our objects per connection would be more, and keep its socket as well.
    expect(heap - before.heap).toBeLessThan(2_000_000)
  }, 120_000)
})
