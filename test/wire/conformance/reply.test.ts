import { readFile, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import compression from 'compression'
import { describe, expect, it } from 'vitest'
import { BitsError, type BitsUploadOptions, fileStore, memoryStore, type Reply } from '../../../lib/index.ts'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { noise } from '../../support/bytes.ts'
import { type Answer, answerTo, begin, hresult, TestClient } from '../../support/client.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { withResolvers } from '../../support/promise.ts'
import { BG_E_SESSION_NOT_FOUND, E_ACCESSDENIED, E_INVALIDARG, expectAck } from '../acks.ts'
import { age, partOf, published, sessionFiles } from '../disk.ts'
import { download, replyUrlOf } from '../reply.ts'
import { all, type ServerSetup, session, sessionOn, start, type Upload } from '../setting.ts'

const file = noise(300)
const text = Array.from({ length: 10_240 / 16 }, (_, i) => `line ${String(i).padStart(10, '0')}\n`).join('')

const lastFragment = ({ client }: Pick<Upload, 'client'>): Promise<Answer> => client.fragment(0, file, 300)

/** An upload whose last fragment was answered, and the URL of its reply. */
async function replied(
  onUpload: BitsUploadOptions['onUpload'],
  setup: ServerSetup = {},
): Promise<Upload & { readonly ack: Answer; readonly reply: URL }> {
  const upload = await session({ ...setup, ...(onUpload && { onUpload }) })
  const ack = await lastFragment(upload)
  expectAck(ack, 200, { sessionId: upload.id, received: 300 })
  return { ...upload, ack, reply: replyUrlOf(ack, upload.client) }
}

const withText = (setup?: ServerSetup) => replied(() => text, setup)

describe('Upload-reply', () => {
  it('107: sends Content-Length and Last-Modified for GET and HEAD', async () => {
    const { reply } = await withText()
    const get = await download(reply)
    const head = await download(reply, {}, 'HEAD')
    expect(get.body.toString()).toBe(text)
    expect(head.body).toHaveLength(0)
    for (const { status, headers } of [get, head]) {
      expect([status, headers['content-length']]).toEqual([200, '10240'])
      expect(Date.parse(headers['last-modified'] ?? '')).toBeGreaterThan(Date.now() - 60_000)
      expect(headers['accept-ranges']).toBe('bytes')
      expect(headers['cache-control']).toBe('private, no-transform')
      expect(headers['x-content-type-options']).toBe('nosniff')
    }
    const { date: _, ...same } = get.headers
    expect(head.headers).toMatchObject(same)
  })

  it('107: returns 206 and Content-Range for a range', async () => {
    const { reply } = await withText()
    const answer = await download(reply, { Range: 'bytes=0-9976' })
    expect(answer.status).toBe(206)
    expect(answer.headers).toMatchObject({ 'content-range': 'bytes 0-9976/10240', 'content-length': '9977' })
    expect(answer.body.toString()).toBe(text.slice(0, 9977))
    const rest = await download(reply, { Range: 'bytes=9977-10239' })
    expect(rest.status).toBe(206)
    expect(rest.body.toString()).toBe(text.slice(9977))
    const head = await download(reply, { Range: 'bytes=0-9976' }, 'HEAD')
    expect([head.status, head.headers['content-range']]).toEqual([206, 'bytes 0-9976/10240'])
  })

  it('107: keeps ETag and Last-Modified across servers, and honours If-Range and If-None-Match', async () => {
    const { reply, directory } = await withText()
    const first = await download(reply)
    const { etag, 'last-modified': modified } = first.headers
    expect(etag).toMatch(/^"[^"]+"$/)
    const other = await start({ directory })
    const again = await download(new URL(reply.pathname, other.url))
    expect(again.headers).toMatchObject({ etag, 'last-modified': modified })
    for (const condition of [etag, modified]) {
      const rest = await download(reply, { Range: 'bytes=10000-', 'If-Range': condition })
      expect([rest.status, rest.body.toString()]).toEqual([206, text.slice(10_000)])
    }
    const stale = await download(reply, { Range: 'bytes=10000-', 'If-Range': '"another"' })
    expect([stale.status, stale.body.length]).toEqual([200, 10_240])
    expect((await download(reply, { 'If-None-Match': etag })).status).toBe(304)
  })

  it('107: uses a different ETag for another session and for another modification time', async () => {
    const [one, other] = [await withText(), await withText()]
    for (const { directory, id } of [one, other]) {
      await utimes(join(directory, '.bits-sessions', `${id}.reply`), 1e9, 1e9)
    }
    const { etag } = (await download(one.reply)).headers
    expect((await download(other.reply)).headers.etag).not.toBe(etag)
    await age(one.directory, one.id, 60_000)
    const changed = await download(one.reply, { Range: 'bytes=10000-', 'If-Range': etag })
    expect([changed.status, changed.body.length]).toEqual([200, 10_240])
  })

  it('107: ignores range units other than bytes, and returns the satisfiable one of two ranges', async () => {
    const { reply } = await withText()
    expect((await download(reply, { Range: 'items=0-1,4-5' })).body.length).toBe(10_240)
    const one = await download(reply, { Range: 'bytes=0-9,20000-' })
    expect([one.status, one.headers['content-range']]).toEqual([206, 'bytes 0-9/10240'])
  })

  it('107: returns 416 for a range beyond the end', async () => {
    const { reply } = await withText()
    const answer = await download(reply, { Range: 'bytes=10240-' })
    expect([answer.status, answer.headers['content-range']]).toEqual([416, 'bytes */10240'])
  })

  it('108: returns several ranges in the order of the request, without merging them', async () => {
    const { reply } = await withText()
    const range = 'bytes=5000-5999,0-99,50-149,-10'
    const { status, headers, body } = await download(reply, { Range: range })
    expect(status).toBe(206)
    expect(headers['content-length']).toBe(String(body.length))
    const [, boundary] = /^multipart\/byteranges; boundary=(\S+)$/.exec(headers['content-type'] ?? '') ?? []
    const part = (first: number, last: number) =>
      [
        `--${boundary}\r\nContent-Type: application/octet-stream\r\n`,
        `Content-Range: bytes ${first}-${last}/10240\r\n\r\n${text.slice(first, last + 1)}\r\n`,
      ].join('')
    const parts = [part(5000, 5999), part(0, 99), part(50, 149), part(10_230, 10_239)]
    expect(body.toString()).toBe(`${parts.join('')}--${boundary}--\r\n`)
    const head = await download(reply, { Range: range }, 'HEAD')
    expect([head.status, head.headers['content-length']]).toEqual([206, String(body.length)])
  })

  it('108: returns two ranges that together are the whole reply', async () => {
    const { reply } = await withText()
    const { status, body } = await download(reply, { Range: 'bytes=5000-,0-4999' })
    expect(status).toBe(206)
    expect(body.indexOf(text.slice(5000))).toBeLessThan(body.indexOf(text.slice(0, 5000)))
  })

  it('108: honours If-Range for two ranges, and returns the reply once for excessive ranges', async () => {
    const { reply } = await withText()
    const { etag, 'last-modified': modified } = (await download(reply)).headers
    const two = { Range: 'bytes=0-0,2-2' }
    expect((await download(reply, two)).headers).toMatchObject({ etag, 'last-modified': modified })
    expect((await download(reply, { ...two, 'If-Range': etag })).status).toBe(206)
    expect((await download(reply, { ...two, 'If-Range': modified })).status).toBe(206)
    expect((await download(reply, { ...two, 'If-Range': '"another"' })).status).toBe(200)
    expect((await download(reply, { ...two, 'If-None-Match': etag })).status).toBe(304)
    const many = Array.from({ length: 65 }, (_, i) => `${i * 2}-${i * 2}`).join()
    const answer = await download(reply, { Range: `bytes=${many}` })
    expect([answer.status, answer.body.length]).toEqual([200, 10_240])
    // 64 times the same bytes: the reply is sent once.
    const whole = await download(reply, { Range: `bytes=${Array(64).fill('0-').join()}` })
    expect(whole.body.length).toBe(10_240)
  })

  it('109: sends the reply neither compressed nor chunked', async () => {
    const { reply } = await withText({ before: [compression({ threshold: 0 })] })
    for (const coding of ['identity', 'gzip, deflate, br']) {
      for (const headers of [{}, { Range: 'bytes=0-99' }, { Range: 'bytes=0-99,200-299' }]) {
        const answer = await download(reply, { 'Accept-Encoding': coding, ...headers })
        expect(answer.headers['content-encoding']).toBeUndefined()
        expect(answer.headers['transfer-encoding']).toBeUndefined()
        expect(answer.headers['content-length']).toBe(String(answer.body.length))
      }
    }
  })

  it('110: returns 404 for the reply after Close-Session', async () => {
    const { reply, client, directory } = await withText()
    expectAck(await client.close(), 200)
    expect((await download(reply)).status).toBe(404)
    const head = await download(reply, {}, 'HEAD')
    expect([head.status, head.headers['content-length']]).toEqual([404, '0'])
    expect(await sessionFiles(directory)).toEqual([])
    expect(await readFile(join(directory, 'a.bin'))).toEqual(file)
  })

  it('110: returns 404 for the reply after Cancel-Session and after expiry', async () => {
    const cancelled = await withText()
    expectAck(await cancelled.client.cancel(), 200)
    expect((await download(cancelled.reply)).status).toBe(404)
    expect(await sessionFiles(cancelled.directory)).toEqual([])

    const expired = await withText({ expireAfter: 1000 })
    await age(expired.directory, expired.id, 2000)
    expect(await expired.upload.sweep()).toEqual({ expired: 1, open: 0 })
    expect((await download(expired.reply)).status).toBe(404)
    expect(await sessionFiles(expired.directory)).toEqual([])
  })

  it('sends BITS-Reply-URL in the last Ack and its repetitions only', async () => {
    let runs = 0
    const { client } = await session({
      onUpload: () => {
        runs += 1
        return 'reply'
      },
    })
    const first = await client.fragment(0, file.subarray(0, 100), 300)
    expect(first.headers['bits-reply-url']).toBeUndefined()
    const last = await client.fragment(100, file.subarray(100), 300)
    const again = await client.fragment(100, file.subarray(100), 300)
    expect(again.headers).toEqual({ ...last.headers, date: again.headers.date })
    const escaped = encodeURIComponent(client.sessionId)
    expect(last.headers['bits-reply-url']).toBe(`BITS-Sessions/Replies/${escaped}/responsefile.bin`)
    expect(runs).toBe(1)
  })

  it('reads the reply and its URL from the store after a restart', async () => {
    const { client, reply, directory } = await withText()
    const later = await start({ directory, onUpload: () => 'another' })
    const other = new TestClient(new URL('a.bin', later.url))
    other.sessionId = client.sessionId
    const again = replyUrlOf(await lastFragment({ client: other }), other)
    expect(again.pathname).toBe(reply.pathname)
    expect((await download(again)).body.toString()).toBe(text)
  })

  it.each<[string, () => Reply]>([
    ['a string', () => 'grüße'],
    ['bytes', () => Buffer.from('grüße')],
    ['a Readable of strings', () => Readable.from(['grü', 'ße'])],
    ['a Readable of bytes', () => Readable.from([Buffer.from('grü'), Buffer.from('ße')])],
    ['a web stream', () => new Response('grüße').body as AsyncIterable<Uint8Array>],
  ])('sends a reply that onUpload returns as %s', async (_, make) => {
    for (const store of [memoryStore(), fileStore(await temporaryDirectory())]) {
      const { reply } = await replied(make, { store })
      const answer = await download(reply)
      expect([answer.body.toString(), answer.headers['content-length']]).toEqual(['grüße', '7'])
    }
  })

  it('sends a reply returned as { file }, and does not delete that file', async () => {
    const path = join(await temporaryDirectory(), 'reply.txt')
    await writeFile(path, text)
    const { reply, client } = await replied(() => ({ file: path }))
    expect((await download(reply)).body.toString()).toBe(text)
    await client.close()
    expect(await readFile(path, 'utf8')).toBe(text)
  })

  it('sends a reply that onUpload wrote to paths.reply', async () => {
    const { reply } = await replied(async ({ paths }) => {
      await writeFile(String(paths?.reply), text)
      return { file: String(paths?.reply) }
    })
    expect((await download(reply)).body.toString()).toBe(text)
  })

  it('accepts another spelling of paths.reply', async () => {
    const { reply } = await replied(async ({ paths }) => {
      await writeFile(String(paths?.reply), text)
      return { file: String(paths?.reply).replace('.bits-sessions', './.bits-sessions') }
    })
    expect((await download(reply)).body.toString()).toBe(text)
  })

  it('sends a URL that onUpload returns as BITS-Reply-URL', async () => {
    const elsewhere = 'https://replies.example/1?a=b'
    for (const returned of [new URL(elsewhere), { url: elsewhere }]) {
      const { ack } = await replied(() => returned)
      expect(ack.headers['bits-reply-url']).toBe(elsewhere)
    }
  })

  it("returns 400 and emits 'failed' for a reply URL with ftp: or a line break", async () => {
    for (const returned of [new URL('ftp://replies.example/'), { url: 'http://replies.example/\r\nX: y' }]) {
      const upload = await session({ onUpload: () => returned })
      const failed = all(upload.upload, 'failed')
      expectAck(await lastFragment(upload), 400, { error: E_INVALIDARG, received: 300 })
      expect(failed.map(({ error }) => error.code)).toEqual(['invalid-reply'])
    }
  })

  it('returns 200 for an empty reply, also to a range request', async () => {
    const { reply } = await replied(() => '')
    for (const method of ['GET', 'HEAD']) {
      const answer = await download(reply, {}, method)
      expect([answer.status, answer.headers['content-length']]).toEqual([200, '0'])
      expect(answer.headers['last-modified']).toBeDefined()
      // A client that requests a first range before it knows the length must not get an error.
      for (const range of ['bytes=0-9976', 'bytes=0-99,200-299']) {
        const piece = await download(reply, { Range: range }, method)
        expect([piece.status, piece.headers['content-length']]).toEqual([200, '0'])
        expect(piece.headers['accept-ranges']).toBe('bytes')
      }
    }
  })

  it('sends the reply and publishes no file with publish: false', async () => {
    const { reply, directory, client } = await replied(() => ({ reply: text, publish: false }))
    expect((await download(reply)).body.toString()).toBe(text)
    expect(await published(directory)).toEqual([])
    expectAck(await client.close(), 200)
    expect(await published(directory)).toEqual([])
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('sends no BITS-Reply-URL with publish: false and no reply', async () => {
    let runs = 0
    const { client, directory } = await session({
      onUpload: () => {
        runs += 1
        return { publish: false }
      },
    })
    for (let i = 0; i < 2; i += 1) {
      const ack = await lastFragment({ client })
      expectAck(ack, 200, { received: 300 })
      expect(ack.headers['bits-reply-url']).toBeUndefined()
    }
    expect(runs).toBe(1)
    expectAck(await client.close(), 200)
    expect(await published(directory)).toEqual([])
  })

  it('publishes the file when onUpload returns only { reply }', async () => {
    const { directory } = await replied(() => ({ reply: text }))
    expect(await published(directory)).toEqual(['a.bin'])
  })

  it("serves the reply before the file is published with commitOn: 'close'", async () => {
    const { reply, directory, client } = await withText({ commitOn: 'close' })
    expect(await published(directory)).toEqual([])
    expect((await download(reply)).body.toString()).toBe(text)
    expectAck(await client.close(), 200)
    expect(await published(directory)).toEqual(['a.bin'])
  })

  it('calls onUpload again after the data file was lost and sent again', async () => {
    const replies = ['first', 'second']
    const upload = await replied(() => replies.shift() as string, { commitOn: 'close' })
    await unlink(partOf(upload.directory, upload.id))
    const reply = replyUrlOf(await lastFragment(upload), upload.client)
    expect((await download(reply)).body.toString()).toBe('second')
    expectAck(await upload.client.close(), 200)
    expect(await readFile(join(upload.directory, 'a.bin'))).toEqual(file)
  })

  it('delays the last Ack and its repetition until onUpload resolves', async () => {
    const [started, proceed] = [withResolvers<void>(), withResolvers<void>()]
    const upload = await session({
      onUpload: async () => {
        started.resolve()
        await proceed.promise
        return text
      },
    })
    const first = lastFragment(upload)
    await started.promise
    const second = new TestClient(upload.client.url)
    second.sessionId = upload.id
    const again = lastFragment({ client: second })
    expect(await Promise.race([first, again, upload.client.url])).toBe(upload.client.url)
    proceed.resolve()
    const urls = [await first, await again].map((ack) => ack.headers['bits-reply-url'])
    expect(urls[0]).toBeDefined()
    expect(urls[1]).toBe(urls[0])
  })

  it('returns 403 for a stream that fails with access-denied, and calls onUpload again', async () => {
    let runs = 0
    const upload = await session({
      onUpload: () => {
        runs += 1
        return Readable.from(
          (async function* () {
            yield 'half'
            throw new BitsError('access-denied')
          })(),
        )
      },
    })
    for (let i = 0; i < 2; i += 1) {
      expectAck(await lastFragment(upload), 403, { error: E_ACCESSDENIED, context: '0x7', received: 300 })
    }
    expect(runs).toBe(2)
  })

  it('returns 500 with context 0x7 for a stream that fails, and calls onUpload again', async () => {
    let runs = 0
    const upload = await session({
      onUpload: () => {
        runs += 1
        if (runs > 1) return text
        return Readable.from(
          (async function* () {
            yield 'half'
            throw new Error('no more')
          })(),
        )
      },
    })
    const failed = all(upload.upload, 'failed')
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    expect(failed[0]?.error.cause).toMatchObject({ message: 'no more' })
    expect(await published(upload.directory)).toEqual([])
    const reply = replyUrlOf(await lastFragment(upload), upload.client)
    expect((await download(reply)).body.toString()).toBe(text)
  })

  it('ignores a file at paths.reply that is not returned, and deletes it at Close-Session', async () => {
    const { client, directory } = await session({
      onUpload: ({ paths }) => writeFile(String(paths?.reply), 'half a re'),
    })
    const ack = await lastFragment({ client })
    expectAck(ack, 200, { received: 300 })
    expect(ack.headers['bits-reply-url']).toBeUndefined()
    const reference = `BITS-Sessions/Replies/${encodeURIComponent(client.sessionId)}/responsefile.bin`
    expect((await download(new URL(reference, client.url))).status).toBe(404)
    expectAck(await client.close(), 200)
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('returns 500 with context 0x7 for a stream that fails before the store reads it', async () => {
    const reply = new Readable({ read() {} })
    const upload = await session({
      onUpload: () => reply,
      fileSystem: {
        ...nodeFileSystem,
        open: async (path, flags) => {
          if (path.endsWith('.reply')) {
            reply.destroy(new Error('no first byte'))
            await new Promise((resolve) => reply.once('close', resolve))
          }
          return nodeFileSystem.open(path, flags)
        },
      },
    })
    const failed = all(upload.upload, 'failed')
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    expect(failed[0]?.error.cause).toMatchObject({ message: 'no first byte' })
  })

  it('destroys the stream when store.saveReply fails without reading it', async () => {
    const reply = Readable.from(['a reply'])
    const store = memoryStore()
    const upload = await session({
      onUpload: () => reply,
      store: { ...store, saveReply: () => Promise.reject(new Error('not now')) },
    })
    expectAck(await lastFragment(upload), 500, { received: 300 })
    expect(reply.destroyed).toBe(true)
  })

  it('returns 500 0x80070070 with context 0x5 on a full disk, and 200 to a retry', async () => {
    let full = true
    const upload = await session({
      onUpload: () => text,
      fileSystem: {
        ...nodeFileSystem,
        open: (path, flags) =>
          full && path.endsWith('.reply')
            ? Promise.reject(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }))
            : nodeFileSystem.open(path, flags),
      },
    })
    expectAck(await lastFragment(upload), 500, { error: '0x80070070', received: 300 })
    expect(await published(upload.directory)).toEqual([])
    full = false
    expectAck(await lastFragment(upload), 200, { received: 300 })
  })

  it('stores application-refused, also across a restart, and deletes the data file', async () => {
    let runs = 0
    const onUpload = () => {
      runs += 1
      throw new BitsError('application-refused', 'a virus')
    }
    const upload = await session({ onUpload })
    const refused = { error: E_ACCESSDENIED, context: '0x7', received: 300 } as const
    expectAck(await lastFragment(upload), 403, refused)
    expect(await sessionFiles(upload.directory)).toEqual([`${upload.id}.json`])
    const later = await start({ directory: upload.directory, onUpload })
    const other = new TestClient(new URL('a.bin', later.url))
    other.sessionId = upload.id
    const refusals = all(later.upload, 'refused')
    expectAck(await lastFragment({ client: other }), 403, refused)
    expectAck(await other.fragment(0, file.subarray(0, 10), 300), 403, refused)
    expect(runs).toBe(1)
    expect(refusals[0]?.error.message).toBe('a virus')
    expectAck(await other.close(), 200)
    expect(await published(upload.directory)).toEqual([])
  })

  it('does not call onUpload again after it threw access-denied', async () => {
    let runs = 0
    const upload = await session({
      onUpload: () => {
        runs += 1
        throw new BitsError('access-denied')
      },
    })
    for (let i = 0; i < 2; i += 1) {
      expectAck(await lastFragment(upload), 403, { error: E_ACCESSDENIED, context: '0x7', received: 300 })
    }
    expect(runs).toBe(1)
  })

  // With all bytes received, a client takes a 416 for success.
  it.each([
    new BitsError('out-of-sync'),
    new BitsError('application-failed', 'Like another server', { status: 416 }),
  ])('returns 500 when onUpload throws $code with status 416', async (thrown) => {
    const upload = await session({
      onUpload: () => {
        throw thrown
      },
    })
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
  })

  it('returns the stored 403 to a repeated last fragment that another repetition interrupts', async () => {
    const upload = await session({
      onUpload: () => {
        throw new BitsError('application-refused')
      },
    })
    const failed = all(upload.upload, 'failed')
    const expected = { error: E_ACCESSDENIED, context: '0x7', received: 300 } as const
    expectAck(await lastFragment(upload), 403, expected)
    const { client } = upload
    const outgoing = begin(client.url, 'Fragment', { headers: client.range(0, 300, 300) })
    const slow = answerTo(outgoing)
    outgoing.write(file.subarray(0, 100))
    expectAck(await lastFragment(upload), 403, expected)
    outgoing.end(file.subarray(100))
    expectAck(await slow, 403, expected)
    expect(failed).toEqual([])
  })

  it.each<[string, unknown]>([
    ['a number', 7],
    ['null', null],
    ['an array', ['reply']],
    ['a misspelt decision', { publsh: false }],
    ['a publish that is no boolean', { publish: 'no' }],
    ['an empty file name', { file: '' }],
    ['both file and url', { file: 'a', url: 'b' }],
    ['a stream of objects', Readable.from([{}])],
    ['a stream of arrays', Readable.from([[1, 2]])],
  ])('returns 500 and publishes nothing when onUpload returns %s', async (_, returned) => {
    const upload = await session({ onUpload: () => returned as Reply })
    const failed = all(upload.upload, 'failed')
    expectAck(await lastFragment(upload), 500, { error: '0x801901F4', context: '0x7', received: 300 })
    expect(failed[0]?.error.cause).toBeInstanceOf(TypeError)
    expect(await published(upload.directory)).toEqual([])
  })

  it('serves the reply below the folder of the destination only', async () => {
    const { url, directory } = await start({ onUpload: () => text })
    const { mkdir } = await import('node:fs/promises')
    await mkdir(join(directory, 'x y', 'z'), { recursive: true })
    const client = await sessionOn({ url }, 'x%20y/z/a.bin')
    const reply = replyUrlOf(await lastFragment({ client }), client)
    expect(reply.pathname).toMatch(/^\/upload\/x%20y\/z\/BITS-Sessions\/Replies\//)
    expect((await download(reply)).body.toString()).toBe(text)
    // A client that does not escape braces; IIS sent them unescaped in the capture.
    const raw = new URL(reply)
    raw.pathname = decodeURI(reply.pathname).replaceAll('%7B', '{').replaceAll('%7D', '}')
    expect((await download(raw)).body.toString()).toBe(text)
    // Below another folder there is no such reply.
    expect((await download(new URL(reply.pathname.replace('x%20y/z/', ''), url))).status).toBe(404)
  })

  it('sends BITS-Reply-URL with the host of hostId', async () => {
    const cases: [ServerSetup['hostId'], string][] = [
      ['node3.example', 'node3.example'],
      ['::1', '[::1]'],
    ]
    for (const [hostId, host] of cases) {
      const { ack, client } = await replied(() => text, hostId === undefined ? {} : { hostId })
      const escaped = encodeURIComponent(client.sessionId)
      const url = `http://${host}:${client.url.port}/upload/BITS-Sessions/Replies/${escaped}/responsefile.bin`
      expect(ack.headers['bits-reply-url']).toBe(new URL(url).href)
    }
  })

  it('returns the reply to its owner, 404 to another user and 401 without credentials', async () => {
    const authorize: BitsUploadOptions['authorize'] = ({ headers }, packet) => {
      if (headers.authorization) return headers.authorization
      throw new BitsError('unauthorized', packet.type, { challenge: 'Basic realm="uploads"' })
    }
    const server = await start({ authorize, onUpload: () => text })
    const refusals = all(server.upload, 'refused')
    const client = await sessionOn(server, 'a.bin', { Authorization: 'alice' })
    const reply = replyUrlOf(await lastFragment({ client }), client)
    expect((await download(reply, { Authorization: 'alice' })).body.toString()).toBe(text)
    expect((await download(reply, { Authorization: 'bob' })).status).toBe(404)
    const challenged = await download(reply)
    expect([challenged.status, challenged.headers['www-authenticate']]).toEqual([
      401,
      'Basic realm="uploads"',
    ])
    expect(refusals.map(({ type, error }) => [type, error.code])).toEqual([
      ['Get-Reply', 'session-not-found'],
      ['Get-Reply', 'unauthorized'],
    ])
    expect(refusals[1]?.error.message).toBe('Get-Reply')
  })

  it('sends HTML as application/octet-stream with nosniff', async () => {
    const { reply } = await replied(() => '<script>alert(1)</script>')
    const { headers } = await download(reply)
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, no-transform',
    })
  })

  it('returns 404 for an upload without a reply, and keeps the session', async () => {
    const { client, ...upload } = await session()
    await lastFragment({ client })
    const id = encodeURIComponent(upload.id)
    const url = new URL(`BITS-Sessions/Replies/${id}/responsefile.bin`, upload.url)
    expect((await download(url)).status).toBe(404)
    // The session still exists.
    expectAck(await client.close(), 200)
    expect(hresult(await client.close())).toBe(BG_E_SESSION_NOT_FOUND)
  })

  it('passes other URLs and POST to the next handler', async () => {
    const seen: string[] = []
    const { reply, url } = await withText({
      after: [
        (request, response) => {
          seen.push(`${request.method} ${request.originalUrl}`)
          response.end('the app')
        },
      ],
    })
    for (const path of ['a.bin', 'BITS-Sessions/Replies/x/responsefile.bin', 'BITS-Sessions/']) {
      expect((await download(new URL(path, url))).body.toString()).toBe('the app')
    }
    expect((await download(reply, {}, 'POST')).body.toString()).toBe('the app')
    expect((await download(new URL(`${reply.href}x`))).body.toString()).toBe('the app')
    expect((await download(new URL(`search?for=${reply.pathname}`, url))).body.toString()).toBe('the app')
    expect(seen).toHaveLength(6)
  })

  it('returns 404 for a deleted reply file, and closes the connection on a read error', async () => {
    const gone = await withText()
    await unlink(join(gone.directory, '.bits-sessions', `${gone.id}.reply`))
    expect((await download(gone.reply)).status).toBe(404)

    const broken = await withText({
      fileSystem: {
        ...nodeFileSystem,
        createReadStream: () =>
          Readable.from(
            (async function* () {
              yield Buffer.from('half')
              throw new Error('EIO')
            })(),
          ),
      },
    })
    await expect(download(broken.reply)).rejects.toThrow()
  })

  it('sends nothing when another handler has already answered', async () => {
    let answer: (() => void) | undefined
    const upload = await replied(() => text, {
      store: memoryStore(),
      before: [
        (_, response, next) => {
          answer = () => response.writeHead(504, { 'Content-Length': 8 }).end('too late')
          next()
        },
      ],
      authorize: (_, { type }) => {
        if (type === 'Get-Reply') answer?.()
        return true
      },
    })
    const failed = all(upload.upload, 'failed')
    const elsewhere = new URL(upload.reply.pathname.replace('BITS-', 'x/BITS-'), upload.reply)
    for (const url of [upload.reply, elsewhere]) {
      const { status, body } = await download(url)
      expect([status, body.toString()]).toEqual([504, 'too late'])
    }
    expect(failed).toEqual([])
  })

  it('returns 503 after close()', async () => {
    const { reply, upload } = await withText()
    await upload.close()
    expect((await download(reply)).status).toBe(503)
  })
})
