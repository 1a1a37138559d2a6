/** The resources that remain in the process after ten thousand connections. */
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

    // One connection that the server closes, one that is kept alive, one with a refused method, one that ends
    // early.
    const kinds = [
      BITS.replace('x', 'x\r\nConnection: close'),
      BITS + BITS.slice(0, 4),
      'BITS_PUT / ',
      BITS.slice(0, 12),
    ]
    let answers = 0
    const connect = (text: string) =>
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
    let connections = 0
    const connectMany = async (count: number) => {
      const end = connections + count
      const worker = async () => {
        while (connections < end) await connect(kinds[connections++ % 4] as string)
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

    await connectMany(2000)
    const before = { ...count(), ...(await settled()) }
    expect(before.subscribers).toBe(1)
    // Subscribed only under versions of V8 that do not share hidden classes: see hidden-classes.test.ts.
    expect(hasSubscribers('http.server.request.start')).toBe(Number.parseInt(process.versions.v8, 10) < 13)
    await connectMany(8000)
    const { heap, alive } = await settled()
    expect(count()).toEqual({
      server: before.server,
      process: before.process,
      subscribers: before.subscribers,
    })
    expect(connections).toBe(10_000)
    // The server may refuse the second of four because of the incomplete request that follows before its
    // response.
    expect(answers).toBeGreaterThanOrEqual(2500)
    expect(alive).toBeLessThan(100)
    // Half of it is the WeakRefs above. One object per connection would be more, and would keep its socket
    // too.
    expect(heap - before.heap).toBeLessThan(2_000_000)
  }, 120_000)
})
