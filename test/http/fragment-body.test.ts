import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { FragmentBody, type FragmentBodyOptions } from '../../lib/http/fragment-body.ts'
import { BitsError } from '../../lib/protocol/errors.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin } from '../support/client.ts'
import { withResolvers } from '../support/promise.ts'
import { serve } from '../support/server.ts'

interface Read {
  readonly bytes: Buffer
  /** Bytes of the largest batch. */
  readonly largest: number
  readonly error: unknown
  /** Listeners that remain on the request after the read. */
  readonly listeners: number
}

const countListeners = (request: IncomingMessage): number =>
  ['data', 'end', 'error', 'close'].reduce((sum, name) => sum + request.listenerCount(name), 0)

/** Starts a server that reads each body; resolves `read` with the result of the first one. */
async function bodyServer(
  options: FragmentBodyOptions,
  respond: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => response.end(),
  pace: () => Promise<void> = async () => {},
) {
  let done: (read: Read) => void = () => {}
  const read = new Promise<Read>((resolve) => {
    done = resolve
  })
  const url = await serve(async (request, response) => {
    const before = countListeners(request)
    const batches: Buffer[] = []
    let error: unknown
    try {
      for await (const chunks of new FragmentBody(request, options)) {
        batches.push(Buffer.concat(chunks))
        await pace()
      }
    } catch (thrown) {
      error = thrown
    }
    done({
      bytes: Buffer.concat(batches),
      largest: Math.max(...batches.map(({ length }) => length)),
      error,
      listeners: countListeners(request) - before,
    })
    respond(request, response)
  })
  return { url, read }
}

describe('Fragment body', () => {
  it('yields all bytes in order and removes its listeners', async () => {
    const body = noise(3_000_000)
    const { url, read } = await bodyServer({ length: body.length, idleTimeout: 10_000 })
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Content-Length': body.length } })
    const answer = answerTo(outgoing)
    outgoing.end(body)
    const { bytes, error, listeners } = await read
    expect(bytes.equals(body)).toBe(true)
    expect({ error, listeners }).toEqual({ error: undefined, listeners: 0 })
    expect((await answer).status).toBe(200)
  })

  it('buffers chunks while the consumer processes a batch, up to 1 MiB and one chunk', async () => {
    const body = noise(8 * 1024 * 1024)
    // As slow as a disk: a few turns of the event loop per batch.
    const { url, read } = await bodyServer(
      { length: body.length, idleTimeout: 10_000 },
      undefined,
      async () => {
        for (let turn = 0; turn < 3; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve))
      },
    )
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Content-Length': body.length } })
    outgoing.on('error', () => {})
    outgoing.end(body)
    const { bytes, largest } = await read
    expect(bytes.equals(body)).toBe(true)
    expect(largest).toBeGreaterThan(64 * 1024)
    expect(largest).toBeLessThan((1024 + 64) * 1024)
  })

  it('yields the chunks of one event loop turn as one batch, without waiting for more', async () => {
    const reading = withResolvers<void>()
    const batches = withResolvers<string[]>()
    const url = await serve(async (request, response) => {
      const body = new FragmentBody(request, { length: 12, idleTimeout: 10_000 })[Symbol.asyncIterator]()
      const received: string[] = []
      for (let next = body.next(); received.length < 2; next = body.next()) {
        reading.resolve()
        received.push(String((await next).value))
        response.writeContinue()
      }
      batches.resolve(received)
      await body.return()
      response.end()
    })
    const socket = connect(Number(url.port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n')
    await reading.promise
    // Two chunks for the stream, in one packet. The next two are sent only after these were yielded.
    socket.write('3\r\nabc\r\n3\r\ndef\r\n')
    await once(socket, 'data')
    socket.write('3\r\nghi\r\n1\r\nj\r\n')
    expect(await batches.promise).toEqual(['abc,def', 'ghi,j'])
  })

  it('adds no listener for a body that arrived with its head, and fails a second read', async () => {
    const seen = withResolvers<unknown>()
    const url = await serve(async (request, response) => {
      // Now the parser has read the last byte of the packet.
      await undefined
      const before = countListeners(request)
      const body = new FragmentBody(request, { length: 6, idleTimeout: 10_000 })[Symbol.asyncIterator]()
      const first = body.next()
      const listeners = countListeners(request) - before
      const batch = String((await first).value)
      const { done } = await body.next()
      const again = new FragmentBody(request, { length: 6, idleTimeout: 10_000 })[Symbol.asyncIterator]()
      const error = await again.next().catch((thrown) => thrown)
      seen.resolve({ listeners, batch, done, code: error.code })
      response.end()
    })
    const socket = connect(Number(url.port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabcdef')
    expect(await seen.promise).toEqual({ listeners: 0, batch: 'abcdef', done: true, code: 'store-failed' })
  })

  it('reads all chunks of a fully buffered body', async () => {
    const seen = withResolvers<string>()
    const url = await serve(async (request, response) => {
      response.writeContinue()
      while (request.readableLength < 6) await new Promise((resolve) => setTimeout(resolve, 1))
      const batches: Buffer[] = []
      const body = new FragmentBody(request, { length: 6, idleTimeout: 10_000 })
      for await (const chunks of body) batches.push(...chunks)
      seen.resolve(Buffer.concat(batches).toString())
      response.end()
    })
    const socket = connect(Number(url.port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc')
    await once(socket, 'data')
    socket.write('def')
    expect(await seen.promise).toBe('abcdef')
  })

  it('throws invalid-packet when a chunked body has more bytes after the expected length', async () => {
    const seen = withResolvers<unknown>()
    const url = await serve(async (request, response) => {
      await undefined
      const before = countListeners(request)
      const body = new FragmentBody(request, { length: 5, idleTimeout: 10_000 })[Symbol.asyncIterator]()
      const batch = String((await body.next()).value)
      response.writeContinue()
      // A slow store: meanwhile the rest arrives.
      while (!request.complete) await new Promise((resolve) => setTimeout(resolve, 1))
      const { code } = await body.next().catch((thrown) => thrown)
      seen.resolve({ batch, code, listeners: countListeners(request) - before })
      response.end()
    })
    const socket = connect(Number(url.port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n')
    await once(socket, 'data')
    socket.write('1\r\nf\r\n0\r\n\r\n')
    expect(await seen.promise).toEqual({ batch: 'abcde', code: 'invalid-packet', listeners: 0 })
  })

  it('ignores an interrupt after all bytes have arrived', async () => {
    const seen = withResolvers<unknown>()
    const url = await serve(async (request, response) => {
      await undefined
      const whole = new FragmentBody(request, { length: 6, idleTimeout: 10_000 })
      const body = whole[Symbol.asyncIterator]()
      const batch = String((await body.next()).value)
      whole.interrupt(new Error('enough'))
      const { done } = await body.next()
      // An answer now belongs to a complete request.
      seen.resolve({ batch, done, complete: request.complete })
      response.end()
    })
    const socket = connect(Number(url.port), '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabcdef')
    expect(await seen.promise).toEqual({ batch: 'abcdef', done: true, complete: true })
  })

  it('yields the bytes received before a disconnect, then throws disconnected', async () => {
    const { url, read } = await bodyServer({ length: 1000, idleTimeout: 10_000 })
    const socket = connect(Number(url.port), '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc', () => socket.end())
    const { bytes, error, listeners } = await read
    expect(bytes.toString()).toBe('abc')
    expect(error).toMatchObject({ code: 'disconnected' })
    expect(listeners).toBe(0)
  })

  it('throws disconnected when the connection closed before the read', async () => {
    const reading = withResolvers<unknown>()
    const url = await serve(async (request) => {
      await new Promise((resolve) => request.on('close', resolve))
      const iterator = new FragmentBody(request, { length: 1000, idleTimeout: 10_000 })[
        Symbol.asyncIterator
      ]()
      iterator.next().then(reading.resolve, reading.reject)
    })
    const socket = connect(Number(url.port), '127.0.0.1')
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc', () => socket.destroy())
    await expect(reading.promise).rejects.toMatchObject({ code: 'disconnected' })
  })

  it('throws timeout (408) with a slow consumer when no more data arrives within idleTimeout', async () => {
    const { url, read } = await bodyServer({ length: 1000, idleTimeout: 30 }, undefined, async () => {
      await new Promise((resolve) => setTimeout(resolve, 90))
    })
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Content-Length': 1000 } })
    outgoing.on('error', () => {})
    outgoing.write('abc')
    const { bytes, error } = await read
    expect(bytes.toString()).toBe('abc')
    expect(error).toMatchObject({ code: 'timeout', status: 408 })
    outgoing.destroy()
  })

  it.each([
    ['longer', 5, 'longer'],
    ['shorter', 7, 'shorter'],
  ])('yields a chunked body that is %s than its range, then rejects it', async (_, length, message) => {
    const { url, read } = await bodyServer({ length, idleTimeout: 10_000 })
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Transfer-Encoding': 'chunked' } })
    const answer = answerTo(outgoing)
    outgoing.end('abcdef')
    const { bytes, error } = await read
    expect(bytes.toString()).toBe('abcdef'.slice(0, length))
    expect(error).toBeInstanceOf(BitsError)
    expect(String(error)).toContain(message)
    await answer
  })

  it('throws the reason of an interrupt, before and during the read', async () => {
    const results = withResolvers<unknown[]>()
    const reason = new Error('enough')
    const url = await serve(async (request, response) => {
      const early = new FragmentBody(request, { length: 1000, idleTimeout: 10_000 })
      early.interrupt(reason)
      const late = new FragmentBody(request, { length: 1000, idleTimeout: 10_000 })
      const errors: unknown[] = []
      for (const body of [early, late]) {
        try {
          for await (const _ of body) late.interrupt(reason)
        } catch (error) {
          errors.push(error)
        }
      }
      late.interrupt(new Error('too late'))
      results.resolve(errors)
      response.end()
    })
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Content-Length': 1000 } })
    outgoing.on('error', () => {})
    outgoing.write('abc')
    expect(await results.promise).toEqual([reason, reason])
    outgoing.destroy()
  })

  it('removes its listeners when the consumer stops early', async () => {
    const listeners = withResolvers<number>()
    const url = await serve(async (request, response) => {
      const before = countListeners(request)
      for await (const _ of new FragmentBody(request, { length: 1000, idleTimeout: 10_000 })) break
      listeners.resolve(countListeners(request) - before)
      response.end()
    })
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Content-Length': 1000 } })
    outgoing.on('error', () => {})
    outgoing.write('abc')
    expect(await listeners.promise).toBe(0)
    outgoing.destroy()
  })

  it('clears a batch as soon as the next one is requested, to free its memory', async () => {
    const batches = withResolvers<(readonly Buffer[])[]>()
    const url = await serve(async (request, response) => {
      const body = new FragmentBody(request, { length: 1000, idleTimeout: 10_000 })
      const { value = [] } = await body[Symbol.asyncIterator]().next()
      const before = [...value]
      body.next().catch(() => {})
      batches.resolve([before, value])
      response.end()
    })
    const outgoing = begin(url, undefined, { method: 'POST', headers: { 'Content-Length': 1000 } })
    outgoing.on('error', () => {})
    outgoing.write('abc')
    expect(await batches.promise).toEqual([[Buffer.from('abc')], []])
    outgoing.destroy()
  })
})
