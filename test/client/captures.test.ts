/**
 * The two captures that [MC-BUP] prints, Microsoft BITS/6.7 talking to IIS 6.0 in June 2007, replayed for the
 * client: the test server sends the answers of IIS, and each request of this client must equal that of
 * Windows, header for header. Only the host names are replaced, because the server listens on this machine.
 */

import { createServer, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'

const file = noise(4892)
const source = (name: string) => ({
  size: file.length,
  name,
  async *read(start: number, end: number) {
    yield file.subarray(start, end)
  },
})

interface Exchange {
  readonly client: string
  readonly body?: Uint8Array
  readonly server: string
  readonly reply?: Uint8Array
}

const lines = (text: string): string =>
  `${text
    .trim()
    .split(/\n[ \t]*/)
    .join('\r\n')}\r\n\r\n`

/**
 * A server that sends the given responses in turn. `{host}` stands for its address, `{node}` for another name
 * of it.
 */
async function play(exchanges: readonly Exchange[]) {
  const heard: string[] = []
  const expected = exchanges.map(({ client }) => lines(client))
  const server = createServer(async (socket: Socket) => {
    socket.on('error', () => {})
    let unread = Buffer.alloc(0)
    for await (const chunk of socket) {
      unread = Buffer.concat([unread, chunk])
      const exchange = exchanges[heard.length]
      const end = unread.indexOf('\r\n\r\n') + 4
      const length = end + (exchange?.body?.length ?? 0)
      if (end < 4 || unread.length < length) continue
      heard.push(unread.toString('latin1', 0, end))
      if (
        !exchange ||
        named(heard.at(-1) ?? '') !== expected[heard.length - 1] ||
        !unread.subarray(end, length).equals(exchange.body ?? Buffer.alloc(0))
      ) {
        // The later requests would differ, too.
        socket.destroy()
        return
      }
      unread = unread.subarray(length)
      socket.write(lines(exchange.server), 'latin1')
      if (exchange.reply) socket.write(exchange.reply)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const named = (text: string): string =>
    text.replace(`127.0.0.1:${port}`, '{host}').replace(`localhost:${port}`, '{node}')
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())))
  return {
    url: new URL(`http://127.0.0.1:${port}/`),
    check: () => expect(heard.map(named)).toEqual(expected),
  }
}

const options: UploadOptions = { headers: { 'User-Agent': 'Microsoft BITS/6.7' }, noProgressTimeout: 0 }

describe('captures of Microsoft BITS/6.7 and IIS 6.0, client side', () => {
  // Without the Ping before Close-Session: in the capture the job had been interrupted and resumed.
  it('4.1: sends the packets of a plain upload', async () => {
    const { url, check } = await play([
      {
        client: `BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Create-Session
          BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}
          Content-Name: rfc2119.txt
          User-Agent: Microsoft BITS/6.7
          Host: {host}
          Content-Length: 0
          Connection: Keep-Alive`,
        server: `HTTP/1.1 200 OK
          Date: Mon, 18 Jun 2007 20:42:57 GMT
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          BITS-Protocol: {7df0354d-249b-430f-820d-3d2a9bef4931}
          BITS-Session-Id: {A0FF5911-4144-45B3-BF27-27AFC8EC8A67}
          Content-Length: 0
          Accept-encoding: identity`,
      },
      {
        client: `BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Fragment
          BITS-Session-Id: {A0FF5911-4144-45B3-BF27-27AFC8EC8A67}
          Content-Name: rfc2119.txt
          Content-Range: bytes 0-4891/4892
          User-Agent: Microsoft BITS/6.7
          Host: {host}
          Content-Length: 4892
          Connection: Keep-Alive`,
        body: file,
        server: `HTTP/1.1 200 OK
          Date: Mon, 18 Jun 2007 20:42:57 GMT
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          Content-Length: 0
          BITS-Received-Content-Range: 4892`,
      },
      {
        client: `BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Close-Session
          BITS-Session-Id: {A0FF5911-4144-45B3-BF27-27AFC8EC8A67}
          Content-Name: rfc2119.txt
          User-Agent: Microsoft BITS/6.7
          Host: {host}
          Content-Length: 0
          Connection: Keep-Alive`,
        server: `HTTP/1.1 200 OK
          Date: Mon, 18 Jun 2007 20:42:58 GMT
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          Content-Length: 0`,
      },
    ])
    const upload = uploadFile(source('rfc2119.txt'), new URL('upload/2000mb-rfc2119.txt', url), options)
    const result = await upload.finally(check)
    expect(result).toMatchObject({ sessionId: '{A0FF5911-4144-45B3-BF27-27AFC8EC8A67}', fragments: 1 })
  })

  it('4.2: sends the packets of an upload-reply with a Host-Id', async () => {
    const reply = noise(10_240)
    const target = '/upload-ref-isapi-WebFarm/2000mb-rfc2119.txt'
    const replyTarget =
      '/upload-ref-isapi-WebFarm/BITS-Sessions/Replies/%7BC85B4E0A-6EB9-4A35-8F07-5FC3F4A4B1A7%7D/responsefile.bin'
    const { url, check } = await play([
      {
        client: `BITS_POST ${target} HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Create-Session
          BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}
          Content-Name: rfc2119.txt
          User-Agent: Microsoft BITS/6.7
          Host: {host}
          Content-Length: 0
          Connection: Keep-Alive`,
        server: `HTTP/1.1 200 OK
          Date: Mon, 18 Jun 2007 21:11:58 GMT
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          BITS-Protocol: {7df0354d-249b-430f-820d-3d2a9bef4931}
          BITS-Session-Id: {C85B4E0A-6EB9-4A35-8F07-5FC3F4A4B1A7}
          BITS-Host-Id: LOCALHOST
          BITS-Host-Id-Fallback-Timeout: 110
          Content-Length: 0
          Accept-encoding: identity`,
      },
      {
        client: `BITS_POST ${target} HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Ping
          User-Agent: Microsoft BITS/6.7
          Host: {node}
          Content-Length: 0
          Connection: Keep-Alive`,
        server: `HTTP/1.1 200 OK
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          Content-Length: 0`,
      },
      {
        client: `BITS_POST ${target} HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Fragment
          BITS-Session-Id: {C85B4E0A-6EB9-4A35-8F07-5FC3F4A4B1A7}
          Content-Name: rfc2119.txt
          Content-Range: bytes 0-4891/4892
          User-Agent: Microsoft BITS/6.7
          Host: {node}
          Content-Length: 4892
          Connection: Keep-Alive`,
        body: file,
        server: `HTTP/1.1 200 OK
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          Content-Length: 0
          BITS-Received-Content-Range: 4892
          BITS-Reply-URL: BITS-Sessions\\Replies\\{C85B4E0A-6EB9-4A35-8F07-5FC3F4A4B1A7}\\responsefile.bin`,
      },
      {
        client: `GET ${replyTarget} HTTP/1.1
          Accept: */*
          Accept-Encoding: identity
          Range: bytes=0-4194303
          User-Agent: Microsoft BITS/6.7
          Host: {host}
          Connection: Keep-Alive`,
        server: `HTTP/1.1 206 Partial Content
          Content-Length: 10240
          Content-Type: application/octet-stream
          Content-Range: bytes 0-10239/10240
          Last-Modified: Mon, 18 Jun 2007 21:12:01 GMT
          Accept-Ranges: bytes
          ETag: "f0b2c8a2edb1c71:4f4"
          Server: Microsoft-IIS/6.0`,
        reply,
      },
      {
        client: `BITS_POST ${target} HTTP/1.1
          Accept: */*
          BITS-Packet-Type: Close-Session
          BITS-Session-Id: {C85B4E0A-6EB9-4A35-8F07-5FC3F4A4B1A7}
          Content-Name: rfc2119.txt
          User-Agent: Microsoft BITS/6.7
          Host: {node}
          Content-Length: 0
          Connection: Keep-Alive`,
        server: `HTTP/1.1 200 OK
          Server: Microsoft-IIS/6.0
          Pragma: no-cache
          BITS-Packet-Type: Ack
          Content-Length: 0`,
      },
    ])
    const result = await uploadFile(source('rfc2119.txt'), new URL(target, url), options).finally(check)
    expect(result.reply?.data?.equals(reply)).toBe(true)
    expect(result.reply?.url).toBe(new URL(replyTarget, url).href)
  })
})
