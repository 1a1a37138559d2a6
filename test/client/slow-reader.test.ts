/** The chunks of a file are in the same memory: none may change before the system has taken it. */
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { buffer } from 'node:stream/consumers'
import { setImmediate as tick } from 'node:timers/promises'
import { generate } from 'selfsigned'
import { expect, it, onTestFinished } from 'vitest'
import { openSource } from '../../lib/client/source.ts'
import { HttpTransport } from '../../lib/client/transport.ts'
import { noise } from '../support/bytes.ts'
import { listen } from '../support/server.ts'
import { fileAndJob } from './setting.ts'

/** More than the buffers of both sockets take. */
const file = noise(48 * 1024 * 1024)
const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
  keyType: 'ec',
  algorithm: 'sha256',
})
const servers = {
  http: (listener: RequestListener) => createServer(listener),
  https: (listener: RequestListener) => createTlsServer({ key, cert }, listener),
}

it.each(['http', 'https'] as const)('%s: a slow reader gets the bytes of the file', async (scheme) => {
  const { path } = await fileAndJob(file)
  const source = await openSource(path)
  let sent = 0
  /** Waits until the client can send nothing. */
  const untilFull = async (): Promise<void> => {
    for (let before = -1, same = 0; same < 50; same = sent === before ? same + 1 : 0) {
      before = sent
      await tick()
    }
  }
  let received = Buffer.alloc(0)
  let readBefore: number | undefined
  const read = async (request: IncomingMessage): Promise<void> => {
    await untilFull()
    readBefore = sent
    const chunks: Buffer[] = []
    let steps = 0
    for await (const chunk of request) {
      chunks.push(chunk)
      // Now and then the buffers fill again.
      if (++steps % 100 === 0) await untilFull()
    }
    received = Buffer.concat(chunks)
  }
  const url = await listen(
    servers[scheme]((request, response) => {
      void read(request).then(() => response.end())
    }),
  )
  const settings = { tls: { rejectUnauthorized: false }, sendTimeout: 60_000, responseTimeout: 60_000 }
  const transport = new HttpTransport(settings, undefined)
  onTestFinished(async () => {
    transport.close()
    await source.close()
  })
  await transport.request(
    {
      method: 'POST',
      url: new URL(`${scheme}://127.0.0.1:${url.port}/`),
      fields: [
        ['Host', url.host],
        ['Content-Length', String(file.length)],
      ],
      body: source.read(0, file.length),
      onSent: (bytes) => {
        sent += bytes
      },
    },
    (response) => buffer(response),
  )
  expect(readBefore).toBeLessThan(file.length)
  expect(received.equals(file)).toBe(true)
})
