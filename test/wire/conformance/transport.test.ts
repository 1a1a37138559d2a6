import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import express, { type RequestHandler } from 'express'
import { describe, expect, it } from 'vitest'
import { BitsError } from '../../../lib/index.ts'
import { noise } from '../../support/bytes.ts'
import { type Answer, answerTo, begin, send, TestClient } from '../../support/client.ts'
import { BG_E_SESSION_NOT_FOUND, BG_E_TOO_LARGE, E_ACCESSDENIED, E_INVALIDARG, expectAck } from '../acks.ts'
import { partOf, published, sessionFiles } from '../disk.ts'
import { dial } from '../raw-connection.ts'
import { all, session, sessionOn, start } from '../setting.ts'

const Protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'
const Unknown = '{11111111-2222-3333-4444-555555555555}'
const file = noise(300)

const createAgain = (client: TestClient): Promise<Answer> =>
  client.send('Create-Session', { headers: { 'BITS-Supported-Protocols': Protocol } })

/** Packets of a client with a session for a file of 300 bytes that do not end the session. */
const packets: Record<string, (client: TestClient) => Promise<Answer>> = {
  Ping: (client) => client.ping(),
  'Create-Session': createAgain,
  Fragment: (client) => client.fragment(0, file.subarray(0, 100), 300),
}

/** Packets that end the session. */
const endings: Record<string, (client: TestClient) => Promise<Answer>> = {
  'Cancel-Session': (client) => client.cancel(),
  'Close-Session': (client) => client.close(),
}

describe('Transport and common rules', () => {
  it('1: answers every known packet type with an Ack, Content-Length: 0 and no body', async () => {
    const { url } = await start()
    const connection = await dial(url)
    const packet = async (path: string, type: string, fields: string, body?: Uint8Array) => {
      const answer = await connection.exchange(
        `BITS_POST /upload/${path} HTTP/1.1
        Host: files.example
        BITS-Packet-Type: ${type}
        ${fields}`,
        body,
      )
      expectAck(answer, 200)
      return String(answer.headers['bits-session-id'])
    }
    const create = (path: string) =>
      packet(path, 'Create-Session', `BITS-Supported-Protocols: ${Protocol}\nContent-Length: 0`)

    await packet('a.bin', 'Ping', 'Content-Length: 0')
    const a = await create('a.bin')
    const range = 'Content-Range: bytes 0-299/300\nContent-Length: 300'
    await packet('a.bin', 'Fragment', `BITS-Session-Id: ${a}\n${range}`, file)
    await packet('a.bin', 'Close-Session', `BITS-Session-Id: ${a}\nContent-Length: 0`)
    const b = await create('b.bin')
    await packet('b.bin', 'Cancel-Session', `BITS-Session-Id: ${b}\nContent-Length: 0`)
    // A body after any Content-Length: 0 would have been detected before the next answer, or here.
    expect(await connection.end()).toBe('')
  })

  it('2: treats packet type create-SESSION as Create-Session', async () => {
    const { url, directory } = await start()
    const headers = { 'BITS-Supported-Protocols': Protocol }
    const answer = await send(new URL('a.bin', url), 'create-SESSION', { headers })
    expectAck(answer, 200)
    expect(answer.headers['bits-protocol']).toBe(Protocol)
    expect(await sessionFiles(directory)).toEqual([`${answer.headers['bits-session-id']}.json`])
  })

  it('3: accepts header names in lower case and in upper case', async () => {
    const { url, directory } = await start()
    const connection = await dial(url)
    for (const [name, spell] of [
      ['lower.bin', (text: string) => text.toLowerCase()],
      ['upper.bin', (text: string) => text.toUpperCase()],
    ] as const) {
      const packet = (fields: Record<string, string | number>, body?: Uint8Array) => {
        const lines = Object.entries(fields).map(([field, value]) => `${spell(field)}: ${value}`)
        const head = [`BITS_POST /upload/${name} HTTP/1.1`, `${spell('Host')}: files.example`, ...lines]
        return connection.exchange(head.join('\n'), body)
      }
      const created = await packet({
        'BITS-Packet-Type': 'Create-Session',
        'BITS-Supported-Protocols': Protocol,
        'Content-Length': 0,
      })
      expectAck(created, 200, { received: null })
      const id = String(created.headers['bits-session-id'])
      const fragment = await packet(
        {
          'BITS-Packet-Type': 'Fragment',
          'BITS-Session-Id': id,
          'Content-Name': name,
          'Content-Range': 'bytes 0-299/300',
          'Content-Length': 300,
        },
        file,
      )
      expectAck(fragment, 200, { sessionId: id, received: 300 })
      const closed = await packet({
        'BITS-Packet-Type': 'Close-Session',
        'BITS-Session-Id': id,
        'Content-Length': 0,
      })
      expectAck(closed, 200, { sessionId: id })
      expect(await readFile(join(directory, name))).toEqual(file)
    }
  })

  it('4: returns 400 0x80070057 with context 0x5 for the unknown packet type Foo', async () => {
    const { url, directory } = await start()
    const answer = await send(new URL('a.bin', url), 'Foo', {
      headers: { 'BITS-Supported-Protocols': Protocol },
    })
    expectAck(answer, 400, { error: E_INVALIDARG, sessionId: null })
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('5: returns 400 0x80070057 without BITS-Packet-Type', async () => {
    const { url, directory } = await start()
    const headers = { 'BITS-Supported-Protocols': Protocol }
    expectAck(await send(new URL('a.bin', url), undefined, { headers }), 400, { error: E_INVALIDARG })
    expectAck(await send(new URL('a.bin', url), '', { headers }), 400, { error: E_INVALIDARG })
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('6: returns 400 for packet type Ack from a client', async () => {
    const { client, id, directory } = await session()
    const answer = await client.send('Ack', { headers: { 'BITS-Session-Id': id } })
    expectAck(answer, 400, { error: E_INVALIDARG })
    expect(await sessionFiles(directory)).toEqual([`${id}.json`])
  })

  it('7: returns 400 0x80070057 for a BITS header value of 4097 bytes', async () => {
    const { url, directory } = await start()
    const client = new TestClient(new URL('a.bin', url))
    const list = (length: number) => Protocol.padEnd(length, ',')
    expectAck(await client.create({ 'BITS-Supported-Protocols': list(4097) }), 400, { error: E_INVALIDARG })
    expectAck(await client.create({ 'BITS-Foo': 'x'.repeat(4097) }), 400, { error: E_INVALIDARG })
    expect(await sessionFiles(directory)).toEqual([])
    // Only the length was refused.
    expectAck(await client.create({ 'BITS-Supported-Protocols': list(4096) }), 200)
  })

  it('8: accepts a value of exactly 4096 bytes in an ignored header', async () => {
    const { url } = await start()
    const client = new TestClient(new URL('a.bin', url), {
      'BITS-Foo': 'x'.repeat(4096),
      'X-Foo': 'x'.repeat(4096),
    })
    expectAck(await client.ping(), 200)
    expectAck(await client.create(), 200)
    expectAck(await client.fragment(0, file, 300), 200, { received: 300 })
    expectAck(await client.close(), 200)
  })

  it('9: ignores the unknown headers X-Foo and BITS-X-Foo', async () => {
    const { url, directory } = await start()
    const client = new TestClient(new URL('a.bin', url), { 'X-Foo': 'bar', 'BITS-X-Foo': 'bar' })
    expectAck(await client.ping(), 200)
    expectAck(await client.create(), 200)
    expectAck(await client.fragment(0, file, 300), 200, { received: 300 })
    expectAck(await client.close(), 200)
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })

  describe('10: missing Content-Length', () => {
    function sendChunked(client: TestClient, type: string, headers: object, body: string): Promise<Answer> {
      const outgoing = begin(client.url, type, {
        agent: client.agent,
        headers: { 'Transfer-Encoding': 'chunked', ...headers },
      })
      const answer = answerTo(outgoing)
      outgoing.end(body)
      return answer
    }

    it('10: returns 400 0x80070057 to a control packet with a chunked body, and ignores it', async () => {
      const { url, directory } = await start()
      const client = new TestClient(new URL('a.bin', url))
      const chunked = (type: string, headers = {}) => sendChunked(client, type, headers, 'hello')
      const create = await chunked('Create-Session', { 'BITS-Supported-Protocols': Protocol })
      expectAck(create, 400, { error: E_INVALIDARG, sessionId: null })
      expect(create.headers['bits-protocol']).toBeUndefined()
      expectAck(await chunked('Ping'), 400, { error: E_INVALIDARG })
      expect(await sessionFiles(directory)).toEqual([])

      await client.create()
      const ofSession = { 'BITS-Session-Id': client.sessionId }
      expectAck(await chunked('Close-Session', ofSession), 400, { error: E_INVALIDARG })
      expectAck(await chunked('Cancel-Session', ofSession), 400, { error: E_INVALIDARG })
      expect(await sessionFiles(directory)).toEqual([`${client.sessionId}.json`])
    })

    it('10: accepts control packets without Content-Length, as proxies written in Go send them', async () => {
      const { url, directory } = await start()
      const connection = await dial(url)
      const packet = (type: string, ...fields: string[]): Promise<Answer> =>
        connection.exchange(
          [
            'BITS_POST /upload/a.bin HTTP/1.1',
            'Host: files.example',
            `BITS-Packet-Type: ${type}`,
            ...fields,
          ].join('\n'),
        )
      expectAck(await packet('Ping'), 200)
      for (const end of ['Cancel-Session', 'Close-Session']) {
        const created = await packet('Create-Session', `BITS-Supported-Protocols: ${Protocol}`)
        expectAck(created, 200)
        expectAck(await packet(end, `BITS-Session-Id: ${created.headers['bits-session-id']}`), 200)
      }
      expect(await sessionFiles(directory)).toEqual([])
      // Close-Session without a fragment publishes an empty file.
      expect((await readFile(join(directory, 'a.bin'))).length).toBe(0)
    })

    it('10: accepts control packets with an empty chunked body, as cloudflared sends them', async () => {
      const { url, directory } = await start()
      const client = new TestClient(new URL('a.bin', url))
      const chunked = (type: string, headers = {}) => sendChunked(client, type, headers, '')
      expectAck(await chunked('Ping'), 200)
      const created = await chunked('Create-Session', { 'BITS-Supported-Protocols': Protocol })
      expectAck(created, 200)
      client.sessionId = String(created.headers['bits-session-id'])
      expectAck(await client.fragment(0, file, 300), 200, { received: 300 })
      expectAck(await chunked('Close-Session', { 'BITS-Session-Id': client.sessionId }), 200)
      expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    })

    it('10: accepts the fragment of an empty file without Content-Length, or with an empty chunked body', async () => {
      const { url, id, directory } = await session()
      const connection = await dial(url)
      for (const field of ['Content-Range: bytes 0-0/0', 'Transfer-Encoding: chunked']) {
        const answer = await connection.exchange(
          [
            'BITS_POST /upload/a.bin HTTP/1.1',
            'Host: files.example',
            'BITS-Packet-Type: Fragment',
            `BITS-Session-Id: ${id}`,
            field,
          ].join('\n'),
          Buffer.from(field.endsWith('chunked') ? '0\r\n\r\n' : ''),
        )
        expectAck(answer, 200, { received: 0 })
      }
      expect((await readFile(join(directory, 'a.bin'))).length).toBe(0)
    })

    it('10: returns 400 0x80070057 to a fragment without a body and stores nothing', async () => {
      const { url, id, directory, client } = await session()
      const connection = await dial(url)
      const answer = await connection.exchange(`BITS_POST /upload/a.bin HTTP/1.1
        Host: files.example
        BITS-Packet-Type: Fragment
        BITS-Session-Id: ${id}
        Content-Range: bytes 0-299/300`)
      expectAck(answer, 400, { error: E_INVALIDARG })
      expect(await sessionFiles(directory)).toEqual([`${id}.json`])
      expectAck(await client.fragment(0, file, 300), 200, { received: 300 })
    })

    it('10: accepts a chunked fragment, and returns 400 when it exceeds its Content-Range', async () => {
      const { client, id, directory } = await session()
      const chunked = (first: number, last: number, ...chunks: Uint8Array[]) => {
        const outgoing = begin(client.url, 'Fragment', {
          agent: client.agent,
          headers: {
            'Transfer-Encoding': 'chunked',
            'BITS-Session-Id': id,
            'Content-Range': `bytes ${first}-${last}/300`,
          },
        })
        const answer = answerTo(outgoing)
        for (const chunk of chunks) outgoing.write(chunk)
        outgoing.end()
        return answer
      }
      const first = await chunked(0, 99, file.subarray(0, 30), file.subarray(30, 100))
      expectAck(first, 200, { sessionId: id, received: 100 })
      // The bytes beyond its range are not stored.
      const long = await chunked(100, 199, file.subarray(100, 200), noise(100, 9))
      expectAck(long, 400, { error: E_INVALIDARG, received: 200 })
      expect(await readFile(partOf(directory, id))).toEqual(file.subarray(0, 200))
      expectAck(await chunked(200, 299, file.subarray(200)), 200, { received: 300 })
      expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
    })

    it('10: returns 400 and the current offset for a chunked fragment that is too short', async () => {
      const { client, id, directory } = await session()
      const outgoing = begin(client.url, 'Fragment', {
        headers: {
          'Transfer-Encoding': 'chunked',
          'BITS-Session-Id': id,
          'Content-Range': 'bytes 0-299/300',
        },
      })
      const answer = answerTo(outgoing)
      outgoing.end(file.subarray(0, 100))
      expectAck(await answer, 400, { error: E_INVALIDARG, received: 100 })
      expect(await published(directory)).toEqual([])
      expect(await readFile(partOf(directory, id))).toEqual(file.subarray(0, 100))
    })
  })

  it('11: sends no BITS-Error, BITS-Error-Code or BITS-Error-Context on success', async () => {
    const server = await session()
    const { client } = server
    const answers = [
      await client.ping(),
      await client.create(),
      await client.fragment(0, file.subarray(0, 100), 300),
      await client.fragment(100, file.subarray(100), 300),
      await client.close(),
      await (await sessionOn(server, 'b.bin')).cancel(),
    ]
    for (const { status, headers } of answers) {
      expect(status).toBe(200)
      expect(Object.keys(headers).filter((name) => name.startsWith('bits-error'))).toEqual([])
    }
  })

  describe('error Ack', () => {
    /** The answer to one packet for each cause of an error header. */
    async function errors(): Promise<[what: string, answer: Answer, error: string, context: string][]> {
      const server = await start({
        maxSize: 1000,
        authorize: ({ headers }) => headers['x-user'] !== 'denied',
        onUpload: (_upload, { headers }) => {
          throw headers['x-verdict'] === 'refused' ? new BitsError('access-denied') : new Error('no')
        },
      })
      const client = await sessionOn(server)
      const bare = (headers = {}) => new TestClient(new URL('b.bin', server.url), headers)
      const unknown = bare()
      unknown.sessionId = Unknown
      const disabled = await start({ enabled: false })
      const refused = { headers: { 'X-Verdict': 'refused' } }
      return [
        ['unknown type', await bare().send('Foo'), E_INVALIDARG, '0x5'],
        ['no protocols', await bare().send('Create-Session'), E_INVALIDARG, '0x5'],
        ['a directory', await new TestClient(server.url).create(), E_INVALIDARG, '0x5'],
        ['no access', await bare({ 'X-User': 'denied' }).create(), E_ACCESSDENIED, '0x5'],
        ['unknown session', await unknown.close(), BG_E_SESSION_NOT_FOUND, '0x5'],
        ['too large', await client.fragment(0, file, 1001), BG_E_TOO_LARGE, '0x5'],
        ['disabled', await new TestClient(new URL('a.bin', disabled.url)).ping(), E_ACCESSDENIED, '0x5'],
        ['the application fails', await client.fragment(0, file, 300), '0x801901F4', '0x7'],
        ['the application refuses', await client.fragment(0, file, 300, refused), E_ACCESSDENIED, '0x7'],
      ]
    }

    it('12: has BITS-Error-Context 0x5, or 0x7 for an error of the application', async () => {
      for (const [what, { headers }, , context] of await errors()) {
        expect([what, headers['bits-error-context']]).toEqual([what, context])
      }
    })

    it('13: has BITS-Error and BITS-Error-Code with the same value', async () => {
      for (const [what, { status, headers }, error] of await errors()) {
        expect([what, headers['bits-error'], headers['bits-error-code']]).toEqual([what, error, error])
        expect(status).toBeGreaterThanOrEqual(400)
      }
    })
  })

  describe('14: missing credentials', () => {
    const credentials = `Basic ${Buffer.from('eve:secret').toString('base64')}`

    it('14: returns 401 with WWW-Authenticate from a preceding handler, without side effects', async () => {
      const basic: RequestHandler = (request, response, next) => {
        if (request.headers.authorization === credentials) next()
        else response.status(401).set('WWW-Authenticate', 'Basic realm="uploads"').end()
      }
      const { url, upload, directory } = await start({ before: [basic] })
      const events = (['created', 'received', 'refused', 'failed'] as const).map((event) =>
        all(upload, event),
      )
      const client = new TestClient(new URL('a.bin', url))
      for (const packet of [
        () => client.ping(),
        () => client.create(),
        () => client.fragment(0, file, 300),
      ]) {
        const answer = await packet()
        expect(answer.status).toBe(401)
        expect(answer.headers['www-authenticate']).toBe('Basic realm="uploads"')
        expect(answer.body).toHaveLength(0)
      }
      expect(events).toEqual([[], [], [], []])
      expect(await sessionFiles(directory)).toEqual([])

      // The same connection, with credentials.
      const known = new TestClient(client.url, { Authorization: credentials })
      expectAck(await known.create(), 200)
      expectAck(await known.fragment(0, file, 300), 200, { received: 300 })
    })

    it('14: returns 401 with WWW-Authenticate from authorize(), without side effects', async () => {
      const { url, upload, directory } = await start({
        authorize: ({ headers }) => {
          if (headers.authorization === credentials) return 'eve'
          throw new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })
        },
      })
      const created = all(upload, 'created')
      const client = new TestClient(new URL('a.bin', url))
      for (const packet of [() => client.ping(), () => client.create()]) {
        const answer = await packet()
        expectAck(answer, 401, { sessionId: null, received: null })
        expect(answer.headers['www-authenticate']).toBe('Basic realm="uploads"')
      }
      expect(created).toEqual([])
      expect(await sessionFiles(directory)).toEqual([])

      const known = await sessionOn({ url }, 'a.bin', { Authorization: credentials })
      await known.fragment(0, file.subarray(0, 100), 300)
      client.sessionId = known.sessionId
      for (const packet of [
        () => client.fragment(100, file.subarray(100), 300),
        () => client.close(),
        () => client.cancel(),
      ]) {
        const answer = await packet()
        expectAck(answer, 401, { received: null })
        expect(answer.headers['www-authenticate']).toBe('Basic realm="uploads"')
      }
      expect(await readFile(partOf(directory, known.sessionId))).toEqual(file.subarray(0, 100))
      expectAck(await known.fragment(100, file.subarray(100), 300), 200, { received: 300 })
    })
  })

  it('15: returns 403 0x80070005 with context 0x5 to a user without write access', async () => {
    const server = await start({ authorize: ({ headers }) => headers['x-user'] === 'writer' })
    const { url, directory } = server
    const writer = await sessionOn(server, 'a.bin', { 'X-User': 'writer' })
    await writer.fragment(0, file.subarray(0, 100), 300)
    const before = await sessionFiles(directory)

    const reader = new TestClient(new URL('a.bin', url), { 'X-User': 'reader' })
    reader.sessionId = writer.sessionId
    const answers = [
      await reader.ping(),
      await createAgain(reader),
      await reader.fragment(100, file.subarray(100), 300),
      await reader.close(),
      await reader.cancel(),
    ]
    for (const answer of answers) expectAck(answer, 403, { error: E_ACCESSDENIED, received: null })
    expect(await sessionFiles(directory)).toEqual(before)
    expect(await published(directory)).toEqual([])
    expectAck(await writer.fragment(100, file.subarray(100), 300), 200, { received: 300 })
  })

  it('16: returns 501 0x80070005 with context 0x5 to every packet while uploads are disabled', async () => {
    let enabled = true
    const { client, id, directory } = await session({ enabled: () => enabled })
    await client.fragment(0, file.subarray(0, 100), 300)
    const before = await sessionFiles(directory)

    enabled = false
    for (const [type, packet] of Object.entries({ ...packets, ...endings })) {
      const answer = await packet(client)
      expect([type, answer.status]).toEqual([type, 501])
      expectAck(answer, 501, { error: E_ACCESSDENIED, received: null })
    }
    expect(await sessionFiles(directory)).toEqual(before)
    expect(await published(directory)).toEqual([])

    // The session did not change.
    enabled = true
    expectAck(await client.fragment(100, file.subarray(100), 300), 200, { sessionId: id, received: 300 })
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })

  it('17: never returns 3xx for BITS_POST on a URL that redirects', async () => {
    const root = await start()
    await mkdir(join(root.directory, 'sub'))
    const server = await start({
      directory: root.directory,
      // Redirects /sub to /sub/.
      before: [express.static(root.directory)],
      after: [(request, response) => response.redirect(301, `http://elsewhere.example${request.url}`)],
    })
    const { url } = server
    // The redirects are in effect.
    for (const path of ['sub', 'a.bin']) {
      expect((await send(new URL(path, url), undefined, { method: 'GET' })).status).toBe(301)
    }

    expectAck(await new TestClient(new URL('sub', url)).create(), 400, { error: E_INVALIDARG })
    expectAck(await new TestClient(new URL('sub/', url)).create(), 400, { error: E_INVALIDARG })
    expectAck(await new TestClient(new URL('.', url)).create(), 400, { error: E_INVALIDARG })
    expectAck(await new TestClient(new URL('/upload', url)).create(), 400, { error: E_INVALIDARG })
    expectAck(await new TestClient(new URL('sub', url)).ping(), 200)
    const client = await sessionOn(server)
    for (const packet of Object.values(packets)) expectAck(await packet(client), 200)
    for (const packet of Object.values(endings)) {
      const { status } = await packet(client)
      expect(status >= 300 && status < 400, `${status}`).toBe(false)
    }
  })

  it('18: answers ten packets over one connection', async () => {
    const { url, directory } = await start()
    const connection = await dial(url)
    const packet = (fields: string, body?: Uint8Array) =>
      connection.exchange(
        `BITS_POST /upload/a.bin HTTP/1.1\nHost: files.example\nConnection: Keep-Alive\n${fields}`,
        body,
      )
    const create = `BITS-Packet-Type: Create-Session\nBITS-Supported-Protocols: ${Protocol}\nContent-Length: 0`

    expectAck(await packet('BITS-Packet-Type: Ping\nContent-Length: 0'), 200)
    const created = await packet(create)
    expectAck(created, 200)
    const id = String(created.headers['bits-session-id'])
    const fragment = (range: string, body: Uint8Array) =>
      packet(
        `BITS-Packet-Type: Fragment
        BITS-Session-Id: ${id}
        Content-Range: bytes ${range}
        Content-Length: ${body.length}`,
        body,
      )
    expectAck(await fragment('0-99/300', file.subarray(0, 100)), 200, { received: 100 })
    // Refused packets leave the connection usable, and their bodies are not the next request.
    expectAck(await fragment('150-299/300', file.subarray(150)), 416, { received: 100 })
    expectAck(await fragment('0-9/300', Buffer.from('BITS_POST / HTTP/1.1')), 400, { error: E_INVALIDARG })
    expectAck(await fragment('100-199/300', file.subarray(100, 200)), 200, { received: 200 })
    expectAck(await packet('BITS-Packet-Type: Foo\nContent-Length: 5', Buffer.from('hello')), 400, {
      error: E_INVALIDARG,
    })
    expectAck(await fragment('200-299/300', file.subarray(200)), 200, { received: 300 })
    expectAck(await packet('BITS-Packet-Type: Ping\nContent-Length: 0'), 200)
    const close = `BITS-Packet-Type: Close-Session\nBITS-Session-Id: ${id}\nContent-Length: 0`
    expectAck(await packet(close), 200, { sessionId: id })
    expect(await connection.end()).toBe('')
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })
})
