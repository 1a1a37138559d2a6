import { open, readFile, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { noise } from '../../support/bytes.ts'
import { type Answer, answerTo, begin, TestClient } from '../../support/client.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { BG_E_SESSION_NOT_FOUND, BG_E_TOO_LARGE, E_INVALIDARG, ERROR_DISK_FULL, expectAck } from '../acks.ts'
import { filesOf, MeteredDisk, partOf, published, sessionFiles } from '../disk.ts'
import { all, next, oddFragment, session, sessionOn, start, type Upload } from '../setting.ts'

const file = noise(300)
/** The file's bytes from `first` to `last` inclusive, as in Content-Range. */
const bytes = (first: number, last: number): Buffer => file.subarray(first, last + 1)

/** The bytes that a session holds; undefined if it never held any. */
const held = ({ directory, id }: Pick<Upload, 'directory' | 'id'>): Promise<Buffer | undefined> =>
  readFile(partOf(directory, id)).catch(() => undefined)

/** A session that holds `count` bytes of the file. */
async function holding(count: number, setup: Parameters<typeof session>[0] = {}): Promise<Upload> {
  const upload = await session(setup)
  expectAck(await upload.client.fragment(0, file.subarray(0, count), 300), 200, { received: count })
  return upload
}

/** Sends the rest of the file, and expects the complete published file. */
async function expectCompletes({ client, directory, id }: Upload, first: number): Promise<void> {
  const answer = await client.fragment(first, file.subarray(first), 300)
  expectAck(answer, 200, { sessionId: id, received: 300 })
  expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
}

/** Expects 400 for a Fragment with this Content-Range, no stored data, and a session that stays usable. */
async function expectRefused(range: string | undefined, body: Uint8Array): Promise<void> {
  for (const received of [0, 100]) {
    const upload = received === 0 ? await session() : await holding(received)
    const before = await held(upload)
    const headers = range === undefined ? {} : { 'Content-Range': range }
    expectAck(await oddFragment(upload.client, headers, body), 400, { error: E_INVALIDARG })
    expect(await held(upload)).toEqual(before)
    expect(await published(upload.directory)).toEqual([])
    await expectCompletes(upload, received)
  }
}

describe('Fragment', () => {
  it('41: returns 200 and offset 100 for 0-99/300 in a new session', async () => {
    const upload = await session()
    const answer = await upload.client.fragment(0, bytes(0, 99), 300)
    expectAck(answer, 200, { sessionId: upload.id, received: 100 })
    expect(await held(upload)).toEqual(bytes(0, 99))
    expect(await published(upload.directory)).toEqual([])
  })

  it('42: returns 200 and offset 300 for 100-299/300 at offset 100, and publishes the file', async () => {
    const upload = await holding(100)
    const answer = await upload.client.fragment(100, bytes(100, 299), 300)
    expectAck(answer, 200, { sessionId: upload.id, received: 300 })
    expect(await readFile(join(upload.directory, 'a.bin'))).toEqual(file)
    expectAck(await upload.client.close(), 200)
    expect(await held(upload)).toBeUndefined()
  })

  it('43: returns 416 and offset 100 for 150-299/300 at offset 100, and writes nothing', async () => {
    const upload = await holding(100)
    const answer = await upload.client.fragment(150, bytes(150, 299), 300)
    expectAck(answer, 416, { sessionId: upload.id, received: 100 })
    expect(await held(upload)).toEqual(bytes(0, 99))
    expect(await published(upload.directory)).toEqual([])
    await expectCompletes(upload, 100)
  })

  it('44: returns 416 and offset 0 for 1-9/10 in a new session', async () => {
    const upload = await session()
    expectAck(await upload.client.fragment(1, bytes(1, 9), 10), 416, { sessionId: upload.id, received: 0 })
    expect(await held(upload)).toBeUndefined()
    expectAck(await upload.client.fragment(0, bytes(0, 9), 10), 200, { received: 10 })
    expect(await readFile(join(upload.directory, 'a.bin'))).toEqual(bytes(0, 9))
  })

  it('45: returns 200 and offset 151 for 50-150/300 at offset 101, and keeps bytes 50-100', async () => {
    const upload = await holding(101)
    const other = Buffer.concat([noise(51, 9), bytes(101, 150)])
    expectAck(await upload.client.fragment(50, other, 300), 200, { sessionId: upload.id, received: 151 })
    expect(await held(upload)).toEqual(bytes(0, 150))
    await expectCompletes(upload, 151)
  })

  it('46: returns 200 and offset 200 for 0-99/300 at offset 200, and changes nothing', async () => {
    const upload = await holding(200)
    const answer = await upload.client.fragment(0, noise(100, 9), 300)
    expectAck(answer, 200, { sessionId: upload.id, received: 200 })
    expect(await held(upload)).toEqual(bytes(0, 199))
    await expectCompletes(upload, 200)
  })

  it('47: returns 400 0x80070057 for total 301 after 300, and keeps the session usable', async () => {
    const upload = await holding(100)
    for (const total of [301, 299, 150]) {
      const answer = await upload.client.fragment(100, bytes(100, 149), total)
      expectAck(answer, 400, { error: E_INVALIDARG, sessionId: upload.id, received: 100 })
    }
    expect(await held(upload)).toEqual(bytes(0, 99))
    await expectCompletes(upload, 100)
  })

  it('48: returns 400 0x80070057 for Content-Length 99 and range 0-99', async () => {
    await expectRefused('bytes 0-99/300', bytes(0, 98))
    await expectRefused('bytes 0-99/300', bytes(0, 100))
  })

  it('49: returns 400 for range 10-5/300', async () => {
    await expectRefused('bytes 10-5/300', bytes(5, 10))
    await expectRefused('bytes 10-5/300', new Uint8Array())
    await expectRefused('bytes 10-9/300', new Uint8Array())
  })

  it('50: returns 400 for range 0-300/300', async () => {
    await expectRefused('bytes 0-300/300', noise(301))
  })

  it('51: returns 400 for range 0-99/*', async () => {
    await expectRefused('bytes 0-99/*', bytes(0, 99))
  })

  it('52: returns 400 for bytes */300', async () => {
    await expectRefused('bytes */300', bytes(0, 99))
    await expectRefused('bytes */300', new Uint8Array())
  })

  it('53: accepts Bytes 0-99/300', async () => {
    const upload = await session()
    const answer = await oddFragment(upload.client, { 'Content-Range': 'Bytes 0-99/300' }, bytes(0, 99))
    expectAck(answer, 200, { sessionId: upload.id, received: 100 })
    expect(await held(upload)).toEqual(bytes(0, 99))
  })

  it('54: returns 400 for items 0-99/300', async () => {
    await expectRefused('items 0-99/300', bytes(0, 99))
    await expectRefused('0-99/300', bytes(0, 99))
  })

  it('55: returns 400 without Content-Range', async () => {
    await expectRefused(undefined, bytes(0, 99))
  })

  it('56: returns 400 for numbers above 2^63 or of 30 digits, without overflow', async () => {
    const long = '1'.repeat(30)
    for (const range of [
      'bytes 0-9/9223372036854775808',
      'bytes 0-9/18446744073709551616',
      `bytes 0-9/${long}`,
      'bytes 9223372036854775808-9223372036854775817/9223372036854775818',
      // Modulo 2^64 this is 0-9/300.
      'bytes 18446744073709551616-18446744073709551625/18446744073709551916',
      `bytes ${long}-${long}/${long}1`,
      `bytes 0-${long}/300`,
      'bytes -1-8/300',
      'bytes 0-9/-1',
      'bytes 0x0-0x9/300',
      'bytes 0-9e0/300',
      'bytes 0.0-9.0/300',
    ]) {
      await expectRefused(range, bytes(0, 9))
    }
  })

  it('57: returns correct offsets above 4 GiB for a file of 5 GiB', async () => {
    const upload = await session()
    const { client, id, directory } = upload
    const total = 5 * 1024 ** 3
    const part = partOf(directory, id)
    expectAck(await client.fragment(0, file, total), 200, { received: 300 })

    // As if all bytes between had arrived as zeros; the file is sparse.
    const edge = 2 ** 32
    await truncate(part, edge - 100)
    expectAck(await client.fragment(edge, file, total), 416, { received: edge - 100 })
    const across = await client.fragment(edge - 100, file, total)
    expectAck(across, 200, { sessionId: id, received: edge + 200 })
    const overlapping = await client.fragment(edge + 100, Buffer.concat([noise(100, 9), file]), total)
    expectAck(overlapping, 200, { sessionId: id, received: edge + 500 })
    expectAck(await client.fragment(0, noise(300, 9), total), 200, { received: edge + 500 })
    expectAck(await client.fragment(500, noise(300, 9), total), 200, { received: edge + 500 })

    await truncate(part, total - 300)
    expectAck(await client.fragment(total - 200, bytes(100, 299), total), 416, { received: total - 300 })
    expect(await published(directory)).toEqual([])
    expectAck(await client.fragment(total - 300, file, total), 200, { sessionId: id, received: total })
    expectAck(await client.close(), 200)

    const path = join(directory, 'a.bin')
    expect((await stat(path)).size).toBe(total)
    const reader = await open(path)
    const at = async (position: number, length: number) => {
      const { buffer, bytesRead } = await reader.read(Buffer.alloc(length), 0, length, position)
      return buffer.subarray(0, bytesRead)
    }
    const zeros = (count: number) => Buffer.alloc(count)
    expect(await at(0, 400)).toEqual(Buffer.concat([file, zeros(100)]))
    expect(await at(edge - 200, 800)).toEqual(Buffer.concat([zeros(100), file, file, zeros(100)]))
    expect(await at(total - 400, 500)).toEqual(Buffer.concat([zeros(100), file]))
    await reader.close()
  })

  it('58: accepts a fragment of 13 MB', async () => {
    const upload = await session()
    const large = noise(13 * 1024 * 1024)
    const total = large.length + 1
    const answer = await upload.client.fragment(0, large, total)
    expectAck(answer, 200, { sessionId: upload.id, received: large.length })
    expect(large.equals((await held(upload)) ?? Buffer.alloc(0))).toBe(true)
    expectAck(await upload.client.fragment(large.length, Buffer.from('x'), total), 200, { received: total })
    const expected = Buffer.concat([large, Buffer.from('x')])
    expect(expected.equals(await readFile(join(upload.directory, 'a.bin')))).toBe(true)
  })

  it('59: accepts a last fragment of 1 byte', async () => {
    const upload = await holding(299)
    expect(await published(upload.directory)).toEqual([])
    await expectCompletes(upload, 299)
  })

  it('60: returns 500 0x80200020 with context 0x5 for a total above maxSize, and keeps no data', async () => {
    const upload = await session({ maxSize: 300 })
    const { client, id, directory } = upload
    for (const [length, total] of [
      [100, 301],
      [301, 301],
      [300, 2 ** 40],
      [100, Number.MAX_SAFE_INTEGER],
    ] as const) {
      const answer = await client.fragment(0, noise(length), total)
      expectAck(answer, 500, { error: BG_E_TOO_LARGE, sessionId: id, received: 0 })
    }
    expect(await held(upload)).toBeUndefined()
    expect(await published(directory)).toEqual([])
    // A total equal to maxSize is accepted.
    await expectCompletes(upload, 0)
  })

  it('61: returns 413 without a BITS error for a fragment above maxFragmentSize', async () => {
    const upload = await session({ maxFragmentSize: 200 })
    const answer = await upload.client.fragment(0, bytes(0, 200), 300)
    expectAck(answer, 413, { sessionId: upload.id, received: 0 })
    expect(await held(upload)).toBeUndefined()
    // The client then sends smaller fragments on the same connection.
    expectAck(await upload.client.fragment(0, bytes(0, 199), 300), 200, { received: 200 })
    await expectCompletes(upload, 200)
  })

  describe('62: full disk', () => {
    it('62: returns 500 0x80070070 and the old offset, and accepts a retry when there is space', async () => {
      const disk = new MeteredDisk()
      const upload = await holding(100, { fileSystem: disk.fileSystem })
      const { client, id, directory } = upload
      const failure = next(upload.upload, 'failed')
      disk.space = 0
      const refused = await client.fragment(100, bytes(100, 299), 300)
      expectAck(refused, 500, { error: ERROR_DISK_FULL, sessionId: id, received: 100 })
      expect((await failure).error).toMatchObject({ code: 'disk-full', cause: { code: 'ENOSPC' } })
      expect(await held(upload)).toEqual(bytes(0, 99))
      // The disk is still full.
      expectAck(await client.fragment(100, bytes(100, 199), 300), 500, {
        error: ERROR_DISK_FULL,
        received: 100,
      })
      expect(await published(directory)).toEqual([])

      disk.space = Number.POSITIVE_INFINITY
      await expectCompletes(upload, 100)
      expectAck(await client.close(), 200)
      expect(await sessionFiles(directory)).toEqual([])
    })

    it('62: returns the offset of a partial write, and accepts a retry from there or earlier', async () => {
      for (const retryFrom of [100, 150]) {
        const disk = new MeteredDisk()
        const upload = await holding(100, { fileSystem: disk.fileSystem })
        disk.space = 50
        const answer = await upload.client.fragment(100, bytes(100, 299), 300)
        expectAck(answer, 500, { error: ERROR_DISK_FULL, sessionId: upload.id, received: 150 })
        expect(await held(upload)).toEqual(bytes(0, 149))
        expect(await published(upload.directory)).toEqual([])
        disk.space = Number.POSITIVE_INFINITY
        await expectCompletes(upload, retryFrom)
      }
    })

    it('62: returns 500 0x80070070 to Create-Session and creates no session', async () => {
      const disk = new MeteredDisk()
      const { url, directory } = await start({ fileSystem: disk.fileSystem })
      const client = new TestClient(new URL('a.bin', url))
      disk.space = 0
      const answer = await client.create()
      expectAck(answer, 500, { error: ERROR_DISK_FULL, sessionId: null })
      expect(answer.headers['bits-protocol']).toBeUndefined()
      expect(await sessionFiles(directory)).toEqual([])
      disk.space = Number.POSITIVE_INFINITY
      expectAck(await client.create(), 200)
    })

    it('62: returns the true offset without space for a journal entry, and accepts a retry', async () => {
      const disk = new MeteredDisk()
      const upload = await session({ fileSystem: disk.fileSystem })
      disk.space = 0
      expectAck(await upload.client.fragment(0, file, 300), 500, { error: ERROR_DISK_FULL, received: 0 })
      // Exactly the bytes of the file fit: there is no space for the journal entry of the publication.
      disk.space = 300
      const last = await upload.client.fragment(0, file, 300)
      expectAck(last, 500, { error: ERROR_DISK_FULL, received: 300 })
      disk.space = Number.POSITIVE_INFINITY
      await expectCompletes(upload, 0)
    })
  })

  it('63: returns 400 for Content-Encoding: gzip, and accepts identity', async () => {
    const upload = await session()
    const range = { 'Content-Range': 'bytes 0-99/300' }
    const send = (coding: string) =>
      oddFragment(upload.client, { ...range, 'Content-Encoding': coding }, bytes(0, 99))
    expectAck(await send('gzip'), 400, { error: E_INVALIDARG })
    expect(await held(upload)).toBeUndefined()
    expectAck(await send('identity'), 200, { sessionId: upload.id, received: 100 })
    await expectCompletes(upload, 100)
  })

  it('64: keeps received bytes when the connection breaks, and accepts them again', async () => {
    const disk = new MeteredDisk()
    const upload = await holding(100, { fileSystem: disk.fileSystem })
    const { client } = upload
    const interrupted = next(upload.upload, 'interrupted')
    const outgoing = begin(client.url, 'Fragment', { headers: client.range(100, 200, 300) })
    const answer = answerTo(outgoing).catch((error: Error) => error)
    outgoing.write(bytes(100, 159))
    await disk.holds(160)
    outgoing.destroy()

    expect(await interrupted).toMatchObject({ id: upload.id, received: 160, total: 300 })
    expect(await answer).toBeInstanceOf(Error)
    expect(await held(upload)).toEqual(bytes(0, 159))
    expect(await published(upload.directory)).toEqual([])
    expectAck(await client.fragment(250, bytes(250, 299), 300), 416, { received: 160 })
    await expectCompletes(upload, 100)
  })

  it('65: sends BITS-Received-Content-Range in every 416', async () => {
    const upload = await session()
    const gap = (first: number) => upload.client.fragment(first, file.subarray(first), 300)
    expectAck(await gap(1), 416, { received: 0 })
    expectAck(await gap(299), 416, { received: 0 })
    await upload.client.fragment(0, bytes(0, 99), 300)
    expectAck(await gap(101), 416, { sessionId: upload.id, received: 100 })
    expectAck(await gap(299), 416, { sessionId: upload.id, received: 100 })
  })

  it('66: sends no BITS-Reply-URL in a non-final Ack', async () => {
    const { client } = await session()
    const answers = [
      await client.fragment(0, bytes(0, 99), 300),
      await client.fragment(0, bytes(0, 99), 300),
      await client.fragment(50, bytes(50, 198), 300),
      await client.fragment(250, bytes(250, 299), 300),
      await client.fragment(199, bytes(199, 298), 300),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 416, 200])
    for (const { headers } of answers) expect(headers['bits-reply-url']).toBeUndefined()
  })

  it('67: accepts a session id in another letter case', async () => {
    const upload = await session()
    const { client, id } = upload
    const mixed = id.replace(/[A-F]/, (letter) => letter.toLowerCase())
    for (const [spelling, first] of [
      [id.toLowerCase(), 0],
      [mixed, 100],
    ] as const) {
      const headers = { 'BITS-Session-Id': spelling }
      const answer = await client.fragment(first, bytes(first, first + 99), 300, { headers })
      expectAck(answer, 200, { received: first + 100 })
      expect(String(answer.headers['bits-session-id']).toUpperCase()).toBe(id)
    }
    await expectCompletes(upload, 200)
  })

  it('68: returns 500 0x8020001F with context 0x5 for an unknown session id', async () => {
    const { client, directory, id } = await session()
    for (const unknown of [
      '{11111111-2222-3333-4444-555555555555}',
      // Ids that were never issued, well-formed or not.
      '11111111-2222-3333-4444-555555555555',
      'x',
      '../../a.bin',
    ]) {
      const headers = { 'BITS-Session-Id': unknown }
      const answer = await client.fragment(0, bytes(0, 99), 300, { headers })
      expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, sessionId: unknown, received: null })
    }
    expect(await sessionFiles(directory)).toEqual([`${id}.json`])
    expect(await published(directory)).toEqual([])
  })

  it('69: returns 400 0x80070057 without a session id', async () => {
    const { client, directory, id } = await session()
    const range = { 'Content-Range': 'bytes 0-99/300' }
    for (const answer of [
      await client.send('Fragment', { headers: range, body: bytes(0, 99) }),
      await client.send('Close-Session'),
      await client.send('Cancel-Session'),
    ]) {
      expectAck(answer, 400, { error: E_INVALIDARG, sessionId: null, received: null })
    }
    expect(await sessionFiles(directory)).toEqual([`${id}.json`])
  })

  /** Expects that every packet of another client is answered as for an unknown session. */
  async function expectUnknownTo(upload: Upload, other: TestClient): Promise<void> {
    other.sessionId = upload.id
    const files = await filesOf(upload.directory, upload.id)
    const answers = [
      await other.fragment(100, noise(200, 9), 300),
      await other.fragment(200, noise(100, 9), 300),
      await other.close(),
      await other.cancel(),
    ]
    for (const answer of answers) {
      expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, received: null })
    }
    expect(await filesOf(upload.directory, upload.id)).toEqual(files)
    expect(await held(upload)).toEqual(bytes(0, 99))
    expect(await published(upload.directory)).toEqual([])
    await expectCompletes(upload, 100)
    expect(await published(upload.directory)).toEqual(['a.bin'])
  }

  it('70: returns 500 0x8020001F for the right id on another URL path', async () => {
    const upload = await holding(100)
    await expectUnknownTo(upload, new TestClient(new URL('b.bin', upload.url)))
  })

  it('71: returns 500 0x8020001F for the right id from another authenticated user', async () => {
    const { url, ...server } = await start({ authorize: ({ headers }) => String(headers['x-user']) })
    const client = await sessionOn({ url }, 'a.bin', { 'X-User': 'alice' })
    const upload: Upload = { ...server, url, client, id: client.sessionId }
    expectAck(await client.fragment(0, bytes(0, 99), 300), 200, { received: 100 })
    await expectUnknownTo(upload, new TestClient(client.url, { 'X-User': 'mallory' }))
  })

  it('72: accepts the right id with the origin host instead of the Host-Id on the same server', async () => {
    const server = await start({ hostId: 'node3.example' })
    const client = new TestClient(new URL('a.bin', server.url))
    const created = await client.create({ Host: 'farm.example' })
    expect(created.headers['bits-host-id']).toBe('node3.example')
    for (const [first, Host] of [
      [0, 'node3.example'],
      [100, 'farm.example'],
      [200, '127.0.0.1:80'],
    ] as const) {
      const answer = await client.fragment(first, bytes(first, first + 99), 300, { headers: { Host } })
      expectAck(answer, 200, { sessionId: client.sessionId, received: first + 100 })
    }
    const headers = { Host: 'farm.example', 'BITS-Session-Id': client.sessionId }
    expectAck(await client.send('Close-Session', { headers }), 200)
    expect(await readFile(join(server.directory, 'a.bin'))).toEqual(file)
  })

  describe('73: concurrent copies of one fragment', () => {
    it('73: returns 200 to the newer copy, 416 to the older one, and writes the data once', async () => {
      const disk = new MeteredDisk()
      const upload = await holding(100, { fileSystem: disk.fileSystem })
      const { client } = upload
      const uploaded = all(upload.upload, 'uploaded')
      // The client has abandoned this fragment; the server does not know it yet.
      const { agent } = new TestClient(client.url)
      const older = begin(client.url, 'Fragment', { agent, headers: client.range(100, 200, 300) })
      const olderAnswer = answerTo(older)
      older.write(bytes(100, 139))
      await disk.holds(140)

      expectAck(await client.fragment(100, bytes(100, 299), 300), 200, {
        sessionId: upload.id,
        received: 300,
      })
      older.end(bytes(140, 299))
      expectAck(await olderAnswer, 416, { sessionId: upload.id, received: 140 })
      expect(await readFile(join(upload.directory, 'a.bin'))).toEqual(file)
      expect(disk.written).toBe(300)
      expect(uploaded).toHaveLength(1)
    })

    it('73: answers complete copies sent at once consistently, and writes the data once', async () => {
      const disk = new MeteredDisk()
      const upload = await holding(100, { fileSystem: disk.fileSystem })
      const uploaded = all(upload.upload, 'uploaded')
      const copies = await Promise.all(
        Array.from({ length: 4 }, () => {
          const copy = new TestClient(upload.client.url)
          copy.sessionId = upload.id
          return copy.fragment(100, bytes(100, 299), 300)
        }),
      )
      const consistent = (answer: Answer) => {
        const received = Number(answer.headers['bits-received-content-range'])
        expectAck(answer, received === 300 && answer.status !== 416 ? 200 : 416, { sessionId: upload.id })
        expect(received).toBeGreaterThanOrEqual(100)
      }
      copies.forEach(consistent)
      // No other copy can interrupt the last one.
      expect(copies.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(1)
      expect(await readFile(join(upload.directory, 'a.bin'))).toEqual(file)
      expect(disk.written).toBe(300)
      expect(uploaded).toHaveLength(1)
    })
  })

  it('74: continues at the right offset after a server restart between fragments', async () => {
    const directory = await temporaryDirectory()
    const before = await start({ directory })
    const client = await sessionOn(before)
    const idle = await sessionOn(before, 'b.bin')
    expectAck(await client.fragment(0, bytes(0, 99), 300), 200, { received: 100 })
    await before.upload.close()

    const after = await start({ directory })
    const moved = ({ url, sessionId }: TestClient): TestClient => {
      const same = new TestClient(new URL(url.pathname, after.url))
      same.sessionId = sessionId
      return same
    }
    const again = moved(client)
    expectAck(await again.fragment(200, bytes(200, 299), 300), 416, {
      sessionId: client.sessionId,
      received: 100,
    })
    // The total in the first fragment is known too.
    expectAck(await again.fragment(100, bytes(100, 199), 301), 400, { error: E_INVALIDARG, received: 100 })
    expectAck(await again.fragment(50, bytes(50, 199), 300), 200, { received: 200 })
    await expectCompletes({ ...after, client: again, id: client.sessionId }, 200)
    // A session without a fragment is known too.
    expectAck(await moved(idle).fragment(0, bytes(0, 99), 100), 200, { received: 100 })
    expect(await readFile(join(directory, 'b.bin'))).toEqual(bytes(0, 99))
  })
})
