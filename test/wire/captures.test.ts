/**
 * Exchanges as literal text. The first two are printed in [MC-BUP] as hex dumps: Microsoft BITS/6.7 and IIS
 * 6.0 in June 2007. The test sends the requests of the client header for header, in the same order and
 * spelling, and expects the answers of IIS. The others are the worked exchanges of our own reference.
 */

import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type BitsUploadOptions, bitsUpload, notifyApplication } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { later } from '../support/later.ts'
import { serve } from '../support/server.ts'
import { application } from './application.ts'
import { partOf, published, sessionFiles } from './disk.ts'
import { dial, expectAnswer, type RawAnswer, type RawConnection } from './raw-connection.ts'

/** Starts a server with the middleware at a path, and opens one connection to it. */
async function startAndConnect(mount: string, options: Partial<BitsUploadOptions> = {}) {
  const directory = await temporaryDirectory()
  const upload = bitsUpload({ store: directory, ...options })
  const url = await serve(express().use(mount, upload))
  onTestFinished(() => upload.close({ grace: 0 }))
  return { directory, connection: await dial(url) }
}

const idOf = ({ headers }: RawAnswer): string => String(headers['bits-session-id'])

/** Names of an answer's fields, in the order in which they were sent. */
const namesOf = ({ rawHeaders }: RawAnswer): string[] => rawHeaders.filter((_, i) => i % 2 === 0)

/** Expects the fields that IIS sent in the order of IIS, in any letter case. */
function expectOrder(answer: RawAnswer, ...names: string[]): void {
  const wanted = names.map((name) => name.toLowerCase())
  const sent = namesOf(answer).map((name) => name.toLowerCase())
  expect(sent.filter((name) => wanted.includes(name))).toEqual(wanted)
}

describe('Captured exchange between Microsoft BITS/6.7 and IIS 6.0', () => {
  const file = noise(4892)

  it('4.1: completes a plain upload with the answers of IIS', async () => {
    const { connection, directory } = await startAndConnect('/upload')
    const created = await connection.exchange(`
      BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Create-Session
      BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}
      Content-Name: rfc2119.txt
      User-Agent: Microsoft BITS/6.7
      Host: frankcao8
      Content-Length: 0
      Connection: Keep-Alive
    `)
    const id = idOf(created)
    expect(id).toMatch(/^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$/)
    expectAnswer(
      created,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Protocol: {7df0354d-249b-430f-820d-3d2a9bef4931}
      BITS-Session-Id: ${id}
      Content-Length: 0
      Accept-Encoding: identity`,
    )
    expectOrder(
      created,
      'Pragma',
      'BITS-Packet-Type',
      'BITS-Protocol',
      'BITS-Session-Id',
      'Content-Length',
      'Accept-Encoding',
    )
    expect(created.headers.date).toMatch(/ GMT$/)

    const fragment = await connection.exchange(
      `
      BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Fragment
      BITS-Session-Id: ${id}
      Content-Name: rfc2119.txt
      Content-Range: bytes 0-4891/4892
      User-Agent: Microsoft BITS/6.7
      Host: frankcao8
      Content-Length: 4892
      Connection: Keep-Alive
      `,
      file,
    )
    expectAnswer(
      fragment,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      Content-Length: 0
      BITS-Received-Content-Range: 4892`,
    )
    expectOrder(fragment, 'Pragma', 'BITS-Packet-Type', 'Content-Length', 'BITS-Received-Content-Range')
    expect(await readFile(join(directory, '2000mb-rfc2119.txt'))).toEqual(file)

    // The job was interrupted and resumed here, hence the Ping.
    const ping = await connection.exchange(`
      BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Ping
      User-Agent: Microsoft BITS/6.7
      Host: frankcao8
      Content-Length: 0
      Connection: Keep-Alive
    `)
    expectAnswer(
      ping,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      Content-Length: 0`,
    )

    const closed = await connection.exchange(`
      BITS_POST /upload/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Close-Session
      BITS-Session-Id: ${id}
      Content-Name: rfc2119.txt
      User-Agent: Microsoft BITS/6.7
      Host: frankcao8
      Content-Length: 0
      Connection: Keep-Alive
    `)
    expectAnswer(
      closed,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      Content-Length: 0`,
    )
    expect(await connection.end()).toBe('')
    expect(await published(directory)).toEqual(['2000mb-rfc2119.txt'])
    expect(await sessionFiles(directory)).toEqual([])
  })

  // The name of the file is not from the capture. The reply URL is absolute, that of IIS was relative: see
  // `replyUrl`.
  it('4.2: completes an upload-reply with Host-Id and notification by reference', async () => {
    const reply = noise(10_240, 2)
    const app = await application(async (response, { headers }) => {
      await writeFile(String(headers['bits-response-datafile-name']), reply)
      // The answer of the captured application: without Content-Length.
      response.socket?.end('HTTP/1.1 200 OK\r\nServer: Microsoft-IIS/6.0\r\nConnection: close\r\n\r\n')
    })
    const { connection, directory } = await startAndConnect('/upload-ref-isapi-WebFarm', {
      hostId: { host: 'FRANKCAO8', fallbackTimeout: 110 },
      onUpload: notifyApplication({ url: app.url, mode: 'reference' }),
    })
    const created = await connection.exchange(`
      BITS_POST /upload-ref-isapi-WebFarm/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Create-Session
      BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}
      Content-Name: rfc2119.txt
      User-Agent: Microsoft BITS/6.7
      Host: frankcao8
      Content-Length: 0
      Connection: Keep-Alive
    `)
    const id = idOf(created)
    expectAnswer(
      created,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Protocol: {7df0354d-249b-430f-820d-3d2a9bef4931}
      BITS-Session-Id: ${id}
      BITS-Host-Id: FRANKCAO8
      BITS-Host-Id-Fallback-Timeout: 110
      Content-Length: 0
      Accept-Encoding: identity`,
    )
    expectOrder(
      created,
      'Pragma',
      'BITS-Packet-Type',
      'BITS-Protocol',
      'BITS-Session-Id',
      'BITS-Host-Id',
      'BITS-Host-Id-Fallback-Timeout',
      'Content-Length',
      'Accept-Encoding',
    )

    // From here the client sends to the host of the Host-Id.
    const ping = await connection.exchange(`
      BITS_POST /upload-ref-isapi-WebFarm/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Ping
      User-Agent: Microsoft BITS/6.7
      Host: FRANKCAO8
      Content-Length: 0
      Connection: Keep-Alive
    `)
    expectAnswer(
      ping,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      Content-Length: 0`,
    )

    const fragment = await connection.exchange(
      `
      BITS_POST /upload-ref-isapi-WebFarm/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Fragment
      BITS-Session-Id: ${id}
      Content-Name: rfc2119.txt
      Content-Range: bytes 0-4891/4892
      User-Agent: Microsoft BITS/6.7
      Host: FRANKCAO8
      Content-Length: 4892
      Connection: Keep-Alive
      `,
      file,
    )
    expectAnswer(
      fragment,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      Content-Length: 0
      BITS-Received-Content-Range: 4892
      BITS-Reply-URL: http://frankcao8${replyPath(id)}`,
    )
    expectOrder(fragment, 'Content-Length', 'BITS-Received-Content-Range', 'BITS-Reply-URL')
    // The host in the Create-Session request, not that of the Fragment.
    expect(app.notifications.map(({ headers }) => headers['bits-original-request-url'])).toEqual([
      'http://frankcao8/upload-ref-isapi-WebFarm/2000mb-rfc2119.txt',
    ])

    const [first, rest] = [await fetchReply('0-9976'), await fetchReply('9977-10239')]
    expect(first.headers).toMatchObject({ 'content-range': 'bytes 0-9976/10240', 'content-length': '9977' })
    expect(rest.headers['last-modified']).toBe(first.headers['last-modified'])
    expect(Buffer.concat([first.body, rest.body]).equals(reply)).toBe(true)
    function fetchReply(range: string): Promise<RawAnswer> {
      return connection.exchange(`
        GET ${replyPath(id)} HTTP/1.1
        Accept: */*
        Accept-Encoding: identity
        Range: bytes=${range}
        User-Agent: Microsoft BITS/6.7
        Host: frankcao8
        Connection: Keep-Alive
      `)
    }

    const closed = await connection.exchange(`
      BITS_POST /upload-ref-isapi-WebFarm/2000mb-rfc2119.txt HTTP/1.1
      Accept: */*
      BITS-Packet-Type: Close-Session
      BITS-Session-Id: ${id}
      Content-Name: rfc2119.txt
      User-Agent: Microsoft BITS/6.7
      Host: FRANKCAO8
      Content-Length: 0
      Connection: Keep-Alive
    `)
    expectAnswer(
      closed,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      Content-Length: 0`,
    )
    expect(await connection.end()).toBe('')
    expect(await published(directory)).toEqual([])
    expect(await sessionFiles(directory)).toEqual([])
  })
})

const replyPath = (id: string): string =>
  `/upload-ref-isapi-WebFarm/BITS-Sessions/Replies/${encodeURIComponent(id)}/responsefile.bin`

describe('Worked exchange of section 15', () => {
  const Unknown = '{11111111-2222-3333-4444-555555555555}'

  /** A client of Windows 10, with its order of headers, that uploads to `/upload/a.bin`. */
  const windows = (connection: RawConnection) => {
    const say = (fields: string, body?: Uint8Array) =>
      connection.exchange(
        `BITS_POST /upload/a.bin HTTP/1.1
        Accept: */*
        ${fields}
        User-Agent: Microsoft BITS/7.8
        Host: files.example
        Content-Length: ${body?.length ?? 0}
        Connection: Keep-Alive`,
        body,
      )
    return {
      create: () =>
        say(`BITS-Packet-Type: Create-Session
          BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}`),
      ping: () => say('BITS-Packet-Type: Ping'),
      fragment: (id: string, range: string, body: Uint8Array) =>
        say(
          `BITS-Packet-Type: Fragment
          BITS-Session-Id: ${id}
          Content-Name: a.bin
          Content-Range: bytes ${range}`,
          body,
        ),
      close: (id: string) => say(`BITS-Packet-Type: Close-Session\nBITS-Session-Id: ${id}`),
      cancel: (id: string) => say(`BITS-Packet-Type: Cancel-Session\nBITS-Session-Id: ${id}`),
    }
  }

  const expectCreated = (answer: RawAnswer): string => {
    expectAnswer(
      answer,
      `HTTP/1.1 200 OK
      Pragma: no-cache
      BITS-Packet-Type: Ack
      BITS-Protocol: {7df0354d-249b-430f-820d-3d2a9bef4931}
      BITS-Session-Id: ${idOf(answer)}
      Accept-Encoding: identity
      Content-Length: 0`,
    )
    return idOf(answer)
  }

  const expectReceived = (answer: RawAnswer, id: string, received: number): void =>
    expectAnswer(
      answer,
      `HTTP/1.1 200 OK
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      BITS-Received-Content-Range: ${received}
      Content-Length: 0`,
    )

  const expectOutOfSync = (answer: RawAnswer, id: string, received: number): void =>
    expectAnswer(
      answer,
      // Node sends the reason phrase of RFC 9110; only the number matters.
      `HTTP/1.1 416 Range Not Satisfiable
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      BITS-Received-Content-Range: ${received}
      Content-Length: 0`,
    )

  const expectEnded = (answer: RawAnswer, id: string): void =>
    expectAnswer(
      answer,
      `HTTP/1.1 200 OK
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      Content-Length: 0`,
    )

  const expectPinged = (answer: RawAnswer): void =>
    expectAnswer(
      answer,
      `HTTP/1.1 200 OK
      BITS-Packet-Type: Ack
      Content-Length: 0`,
    )

  const expectNotFound = (answer: RawAnswer, id: string): void =>
    expectAnswer(
      answer,
      `HTTP/1.1 500 Internal Server Error
      BITS-Packet-Type: Ack
      BITS-Session-Id: ${id}
      BITS-Error-Code: 0x8020001F
      BITS-Error: 0x8020001F
      BITS-Error-Context: 0x5
      Content-Length: 0`,
    )

  it('15.1: completes an upload of 12,000 bytes in three fragments', async () => {
    const { connection, directory } = await startAndConnect('/upload')
    const client = windows(connection)
    const file = noise(12_000)
    const id = expectCreated(await client.create())
    expectReceived(await client.fragment(id, '0-5119/12000', file.subarray(0, 5120)), id, 5120)
    expectReceived(await client.fragment(id, '5120-10239/12000', file.subarray(5120, 10_240)), id, 10_240)
    expectReceived(await client.fragment(id, '10240-11999/12000', file.subarray(10_240)), id, 12_000)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expectPinged(await client.ping())
    expectEnded(await client.close(id), id)
    expect(await connection.end()).toBe('')
  })

  it('15.2: accepts a fragment that repeats received bytes after a lost Ack', async () => {
    const { connection, directory } = await startAndConnect('/upload')
    const client = windows(connection)
    const file = noise(12_000)
    const id = expectCreated(await client.create())
    expectReceived(await client.fragment(id, '0-5119/12000', file.subarray(0, 5120)), id, 5120)
    // For the client, the Ack for this fragment is lost.
    expectReceived(await client.fragment(id, '5120-10239/12000', file.subarray(5120, 10_240)), id, 10_240)

    expectPinged(await client.ping())
    expectReceived(await client.fragment(id, '5120-11999/12000', file.subarray(5120)), id, 12_000)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expect(await connection.end()).toBe('')
  })

  it('15.3: returns 416 and the current offset after the server was restored from a backup', async () => {
    const { connection, directory } = await startAndConnect('/upload')
    const client = windows(connection)
    const file = noise(20_000)
    const id = expectCreated(await client.create())
    expectReceived(await client.fragment(id, '0-8191/20000', file.subarray(0, 8192)), id, 8192)
    await truncate(partOf(directory, id), 4096)
    later()

    expectOutOfSync(await client.fragment(id, '8192-12287/20000', file.subarray(8192, 12_288)), id, 4096)
    expectReceived(await client.fragment(id, '4096-8191/20000', file.subarray(4096, 8192)), id, 8192)
    expectReceived(await client.fragment(id, '8192-19999/20000', file.subarray(8192)), id, 20_000)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expect(await connection.end()).toBe('')
  })

  it('15.4: returns 500 for an unknown session and accepts a new one', async () => {
    const { connection, directory } = await startAndConnect('/upload')
    const client = windows(connection)
    const file = noise(20_000)
    expectNotFound(await client.fragment(Unknown, '8192-12287/20000', file.subarray(8192, 12_288)), Unknown)
    expect(await sessionFiles(directory)).toEqual([])
    const id = expectCreated(await client.create())
    expect(id).not.toBe(Unknown)
    expectReceived(await client.fragment(id, '0-19999/20000', file), id, 20_000)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    expect(await connection.end()).toBe('')
  })

  it('15.6: deletes the session at Cancel-Session', async () => {
    const { connection, directory } = await startAndConnect('/upload')
    const client = windows(connection)
    const id = expectCreated(await client.create())
    expectReceived(await client.fragment(id, '0-99/12000', noise(100)), id, 100)
    expectEnded(await client.cancel(id), id)
    expect(await sessionFiles(directory)).toEqual([])
    expectNotFound(await client.fragment(id, '100-199/12000', noise(100)), id)
    expectNotFound(await client.close(id), id)
    expectNotFound(await client.cancel(id), id)
    expect(await published(directory)).toEqual([])
    expect(await connection.end()).toBe('')
  })

  for (const range of ['0-0/0', '*/0']) {
    it(`15.7: publishes an empty file for Content-Range: bytes ${range}`, async () => {
      const { connection, directory } = await startAndConnect('/upload')
      const client = windows(connection)
      const id = expectCreated(await client.create())
      expectReceived(await client.fragment(id, range, new Uint8Array()), id, 0)
      expect((await readFile(join(directory, 'a.bin'))).length).toBe(0)
      expectEnded(await client.close(id), id)
      expect(await connection.end()).toBe('')
    })
  }
})
