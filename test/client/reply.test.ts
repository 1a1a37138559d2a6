import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Writable, type WritableOptions } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { resolveReplyUrl } from '../../lib/client/reply.ts'
import { replySink } from '../../lib/client/reply-sink.ts'
import { noise } from '../support/bytes.ts'
import {
  type Behaviour,
  cut,
  failed,
  fakeServer,
  type Packet,
  type RawResponse,
  rawResponse,
  received,
} from './fake-server.ts'
import { fileAndJob, pauseAt } from './setting.ts'

const file = noise(10_000)
const reply = noise(10_240, 2)
const options: UploadOptions = { maxFragmentSize: '5kb', retryDelay: 1, maxRetryDelay: 1 }
const MiB = 1024 * 1024

/** The response of IIS to a GET with a range. */
function part(bytes: Buffer, { fields }: Packet, more: Readonly<Record<string, string>> = {}): string {
  const [first = 0, last = 0] = (/bytes=(\d+)-(\d+)/.exec(fields.range ?? '') ?? []).slice(1).map(Number)
  const end = Math.min(last + 1, bytes.length)
  const range = { 'Content-Range': `bytes ${first}-${end - 1}/${bytes.length}`, ...more }
  return rawResponse(206, range, bytes.toString('latin1', first, end))
}

/** A server with a reply, and an upload to it. */
async function scene(
  answer: (get: Packet, index: number) => RawResponse | undefined = (get) => part(reply, get),
  behaviour: Partial<Behaviour> = {},
) {
  let gets = 0
  const server = await fakeServer({
    file,
    completed: { 'BITS-Reply-URL': 'replies/1' },
    ...behaviour,
    answer(packet, iis) {
      if (packet.type !== 'GET') return behaviour.answer?.(packet, iis)
      gets += 1
      return answer(packet, gets - 1)
    },
  })
  return {
    server,
    upload: (more: UploadOptions = {}, source: string | Uint8Array = file) =>
      server.watch(uploadFile(source, new URL('a.bin', server.url), { ...options, ...more })),
    ranges: () => server.packets.filter(({ type }) => type === 'GET').map(({ fields }) => fields.range),
    conditions: () =>
      server.packets.filter(({ type }) => type === 'GET').map(({ fields }) => fields['if-range']),
  }
}

/** A response without its last bytes. */
const truncated = (answer: string, missing: number): string => answer.slice(0, -missing)

describe('reply download', () => {
  it('returns url, size and data in the result', async () => {
    const { server, upload } = await scene()
    const result = await upload()
    expect(result.reply).toEqual({
      url: new URL('replies/1', server.url).href,
      size: reply.length,
      data: reply,
    })
    expect(server.requests().at(-1)).toBe('Close-Session')
  })

  it.each<[string, RawResponse]>([
    ['200', rawResponse(200)],
    ['416', rawResponse(416, { 'Content-Range': 'bytes */0' })],
  ])('accepts an empty reply answered with %s', async (_, answer) => {
    const { upload } = await scene(() => answer)
    expect((await upload()).reply).toMatchObject({ size: 0, data: Buffer.alloc(0) })
  })

  it('accepts a 200 with the whole reply from a server without ranges', async () => {
    const { upload } = await scene(() => rawResponse(200, {}, reply.toString('latin1')))
    expect((await upload()).reply?.data?.equals(reply)).toBe(true)
  })

  it('requests ranges of 4 MiB', async () => {
    const large = noise(10 * MiB, 3)
    const { upload, ranges } = await scene((get) => part(large, get, { ETag: '"1"' }))
    expect((await upload({ maxReplySize: '10mb' })).reply?.data?.equals(large)).toBe(true)
    expect(ranges()).toEqual(['bytes=0-4194303', 'bytes=4194304-8388607', 'bytes=8388608-12582911'])
  })

  it('sends no GET if the reply option is false', async () => {
    const { server, upload } = await scene()
    expect(await upload({ reply: false })).not.toHaveProperty('reply')
    expect(server.requests().slice(-2)).toEqual(['Fragment 5120-9999', 'Close-Session'])
  })

  it('sends no GET if BITS-Reply-URL is empty', async () => {
    const empty = received(file.length).replace('Content-Length', 'BITS-Reply-URL: \r\nContent-Length')
    const { server, upload } = await scene(undefined, {
      answer: ({ last }) => (last === 9999 ? empty : undefined),
    })
    expect(await upload()).not.toHaveProperty('reply')
    expect(server.requests().slice(-2)).toEqual(['Fragment 5120-9999', 'Close-Session'])
  })

  describe('when a 416 reports all bytes as held and no reply URL', () => {
    const complete = received(file.length, 416)
    const withUrl = received(file.length).replace(
      'Content-Length',
      'BITS-Reply-URL: replies/1\r\nContent-Length',
    )
    /** As after a crash: the client begins before the end. */
    const held = (last: RawResponse) =>
      scene(undefined, {
        answer: ({ type, last: end }) => {
          if (type !== 'Fragment') return undefined
          return end === 9999 ? last : complete
        },
      })

    it('sends no GET by default', async () => {
      const { server, upload } = await held(withUrl)
      expect(await upload()).not.toHaveProperty('reply')
      expect(server.requests()).toEqual(['Create-Session', 'Fragment 0-5119', 'Close-Session'])
    })

    it('sends the last 5 KB again to get the reply URL if the reply option is a path', async () => {
      const { directory } = await fileAndJob(file)
      const { server, upload } = await held(withUrl)
      const { reply: fetched } = await upload({ reply: join(directory, 'reply') })
      expect(fetched?.size).toBe(reply.length)
      const asked = ['Create-Session', 'Fragment 0-5119', 'Fragment 4880-9999']
      expect(server.requests()).toEqual([...asked, 'GET', 'Close-Session'])

      const none = await held(complete)
      expect(await none.upload({ reply: join(directory, 'reply') })).not.toHaveProperty('reply')
      expect(none.server.requests()).toEqual([...asked, 'Close-Session'])
    })
  })
})

describe('interrupted reply download', () => {
  it.each([
    ['ETag', { ETag: '"1"', 'Last-Modified': 'Mon, 18 Jun 2007 21:12:01 GMT' }, '"1"'],
    [
      'Last-Modified (the ETag is weak)',
      { ETag: 'W/"1"', 'Last-Modified': 'Mon, 18 Jun 2007 21:12:01 GMT' },
      'Mon, 18 Jun 2007 21:12:01 GMT',
    ],
    ['none (no validators)', {}, undefined],
  ])('resumes where it stopped, with If-Range: %s', async (_, validators, condition) => {
    const { upload, ranges, conditions, server } = await scene((get, index) => {
      const whole = part(reply, get, validators)
      return index === 0 ? cut(truncated(whole, 5000)) : whole
    })
    expect((await upload()).reply?.data?.equals(reply)).toBe(true)
    expect(ranges()).toEqual(['bytes=0-4194303', 'bytes=5240-4199543'])
    expect(conditions()).toEqual([undefined, condition])
    expect(server.requests().slice(-4)).toEqual(['GET', 'Ping', 'GET', 'Close-Session'])
  })

  it('completes when the connection is closed after every byte', async () => {
    const { upload, ranges } = await scene((get) => {
      const whole = part(reply.subarray(0, 50), get, { ETag: '"1"' })
      const head = whole.indexOf('\r\n\r\n') + 4
      return cut(whole.slice(0, head + 1))
    })
    expect((await upload()).reply?.data?.equals(reply.subarray(0, 50))).toBe(true)
    expect(ranges()).toHaveLength(50)
  })

  it('completes after twenty 503 answers', async () => {
    const answers = Array.from({ length: 20 }, () => rawResponse(503))
    const { upload } = await scene((get) => answers.shift() ?? part(reply, get))
    expect((await upload()).reply?.data?.equals(reply)).toBe(true)
  })

  it('starts again at byte 0 when the upload is resumed from its job file', async () => {
    const { upload, server, ranges } = await scene((get, index) =>
      index === 0 ? cut(truncated(part(reply, get), 5000)) : part(reply, get),
    )
    const { path, job } = await fileAndJob(file)
    const controller = new AbortController()
    const first = upload(
      {
        job,
        signal: controller.signal,
        onProgress: ({ state, replyReceived }) =>
          state === 'waiting' && replyReceived > 0 && controller.abort(),
      },
      path,
    )
    await expect(first).rejects.toThrow('aborted')
    const sent = server.packets.length
    const { reply: fetched } = await upload({ job }, path)
    expect(fetched?.data?.equals(reply)).toBe(true)
    expect(server.requests().slice(sent)).toEqual(['Ping', 'GET', 'Close-Session'])
    expect(ranges().at(-1)).toBe('bytes=0-4194303')
  })
})

describe('changed reply', () => {
  const other = noise(10_240, 4)

  it('is fetched again from byte 0 when a 206 has another ETag', async () => {
    const { upload, ranges } = await scene((get, index) =>
      index === 0
        ? cut(truncated(part(reply, get, { ETag: '"1"' }), 5000))
        : part(other, get, { ETag: '"2"' }),
    )
    expect((await upload()).reply?.data?.equals(other)).toBe(true)
    expect(ranges()).toEqual(['bytes=0-4194303', 'bytes=5240-4199543', 'bytes=0-4194303'])
  })

  it('is accepted when a 200 with another ETag answers the resumed range', async () => {
    const { upload, ranges } = await scene((get, index) =>
      index === 0
        ? cut(truncated(part(reply, get, { ETag: '"1"' }), 5000))
        : rawResponse(200, { ETag: '"2"' }, other.toString('latin1')),
    )
    expect((await upload()).reply?.data?.equals(other)).toBe(true)
    expect(ranges()).toHaveLength(2)
  })

  it('is read from byte 0 when a second 200 follows a cut one', async () => {
    const whole = rawResponse(200, {}, reply.toString('latin1'))
    const { upload, ranges } = await scene((_, index) => (index === 0 ? cut(truncated(whole, 5000)) : whole))
    expect((await upload()).reply?.data?.equals(reply)).toBe(true)
    expect(ranges()).toHaveLength(2)
  })

  it('is returned once when Close-Session gets 0x8020001F and a new session follows', async () => {
    let closes = 0
    const { upload, server } = await scene(undefined, {
      answer({ type }) {
        if (type !== 'Close-Session') return undefined
        closes += 1
        return closes === 1 ? failed(500, '0x8020001F') : undefined
      },
    })
    expect((await upload()).reply?.data?.equals(reply)).toBe(true)
    expect(server.iis.sessions).toBe(2)
  })

  it('causes reply-changed if its length differs', async () => {
    const { upload } = await scene((get, index) =>
      index === 0 ? cut(truncated(part(reply, get), 5000)) : part(noise(9999), get),
    )
    await expect(upload()).rejects.toMatchObject({ code: 'reply-changed' })
  })

  it('causes reply-changed, within 20 requests, if it changes each time', async () => {
    const { upload, ranges } = await scene((get, index) =>
      cut(truncated(part(reply, get, { ETag: `"${index}"` }), 5000)),
    )
    await expect(upload()).rejects.toMatchObject({ code: 'reply-changed' })
    expect(ranges().length).toBeLessThan(20)
  })
})

describe('reply option', () => {
  it('replaces the file at a path only after the reply is complete', async () => {
    const { path, directory } = await fileAndJob(file)
    const target = join(directory, 'reply.bin')
    await writeFile(target, 'old')
    const failing = await scene((get, index) =>
      index === 0 ? cut(truncated(part(reply, get), 5000)) : rawResponse(404),
    )
    await expect(failing.upload({ reply: target }, path)).rejects.toMatchObject({ code: 'not-found' })
    expect(await readFile(target, 'utf8')).toBe('old')
    expect(await readdir(directory)).toEqual(['a.bin', 'reply.bin'])

    const { upload, server } = await scene((get, index) =>
      index === 0 ? cut(truncated(part(reply, get), 5000)) : part(reply, get),
    )
    const result = await upload({ reply: target }, path)
    expect(result.reply).toEqual({ url: new URL('replies/1', server.url).href, size: reply.length })
    expect((await readFile(target)).equals(reply)).toBe(true)
    expect(await readdir(directory)).toEqual(['a.bin', 'reply.bin'])
  })

  it('creates an empty file at a path for an empty reply', async () => {
    const { path, directory } = await fileAndJob(file)
    const { upload } = await scene(() => rawResponse(200))
    await upload({ reply: join(directory, 'reply.bin') }, path)
    expect(await readFile(join(directory, 'reply.bin'), 'utf8')).toBe('')
  })

  it('fetches and writes the reply once when Close-Session is repeated', async () => {
    const { directory } = await fileAndJob(file)
    const target = join(directory, 'reply.bin')
    const stream = new PassThrough()
    const streamed = stream.toArray()
    for (const where of [target, stream, undefined]) {
      let closes = 0
      const { upload, server } = await scene(undefined, {
        answer({ type }) {
          if (type !== 'Close-Session') return undefined
          closes += 1
          return closes < 3 ? rawResponse(503) : undefined
        },
      })
      const { reply: fetched } = await upload(where === undefined ? {} : { reply: where })
      expect(fetched?.size).toBe(reply.length)
      if (where === undefined) expect(fetched?.data?.equals(reply)).toBe(true)
      const last = ['Close-Session', 'Ping', 'Close-Session', 'Ping', 'Close-Session']
      expect(server.requests().slice(-6)).toEqual(['GET', ...last])
    }
    expect((await readFile(target)).equals(reply)).toBe(true)
    expect(Buffer.concat(await streamed).equals(reply)).toBe(true)
  })

  it('rejects with reply-failed if the path cannot be written', async () => {
    const { directory } = await fileAndJob(file)
    const { upload } = await scene()
    const target = join(directory, 'missing', 'reply.bin')
    await expect(upload({ reply: target })).rejects.toMatchObject({
      code: 'reply-failed',
      cause: { code: 'ENOENT' },
    })
  })

  it('rejects with reply-failed if the path is a directory, and leaves no other file', async () => {
    const { directory } = await fileAndJob(file)
    await mkdir(join(directory, 'reply.bin'))
    const { upload } = await scene()
    const failing = upload({ reply: join(directory, 'reply.bin') })
    await expect(failing).rejects.toMatchObject({ code: 'reply-failed' })
    expect(await readdir(directory)).toEqual(['a.bin', 'reply.bin'])
  })

  it('leaves no file at a path after a lost session and a refused Create-Session', async () => {
    const { directory } = await fileAndJob(file)
    const { upload } = await scene(
      (get, index) => (index === 0 ? cut(truncated(part(reply, get), 5000)) : failed(500, '0x8020001F')),
      {
        answer: ({ type }, { sessions }) =>
          type === 'Create-Session' && sessions > 0 ? rawResponse(403) : undefined,
      },
    )
    const failing = upload({ reply: join(directory, 'reply.bin') })
    await expect(failing).rejects.toMatchObject({ code: 'access-denied' })
    expect(await readdir(directory)).toEqual(['a.bin'])
  })

  it('leaves no file at a path when a chunk is written during or after abandon()', async () => {
    const { directory } = await fileAndJob(file)
    const sink = replySink(join(directory, 'reply.bin'))
    const first = sink.write(reply)
    await sink.abandon()
    await first
    await expect(sink.write(reply)).rejects.toMatchObject({ code: 'reply-failed' })
    expect(await readdir(directory)).toEqual(['a.bin'])
  })

  it('writes to a slow stream without accumulating data, and ends it', async () => {
    const chunks: Buffer[] = []
    const waiting: number[] = []
    const stream = new Writable({
      highWaterMark: 10,
      write(chunk, _, done) {
        chunks.push(chunk)
        waiting.push(stream.writableLength)
        setImmediate(done)
      },
    })
    const large = noise(3 * MiB, 3)
    const { upload } = await scene((get) => part(large, get))
    await upload({ reply: stream })
    expect([stream.writableFinished, stream.listenerCount('error')]).toEqual([true, 0])
    expect(Buffer.concat(chunks).equals(large)).toBe(true)
    // One chunk at a time: the reply is not buffered.
    expect(Math.max(...waiting)).toBeLessThan(MiB / 2)
  })

  it('rejects with reply-failed if the stream fails in write() or final(), or is already destroyed', async () => {
    const error = new Error('full')
    const ending = new Writable({ write: (_chunk, _encoding, done) => done(), final: (done) => done(error) })
    const last = await scene()
    await expect(last.upload({ reply: ending })).rejects.toMatchObject({ code: 'reply-failed', cause: error })
    const failing = new Writable({ write: (_chunk, _encoding, done) => done(error) })
    const first = await scene()
    await expect(first.upload({ reply: failing })).rejects.toMatchObject({
      code: 'reply-failed',
      cause: error,
    })
    const closed = new PassThrough().destroy()
    const second = await scene()
    await expect(second.upload({ reply: closed })).rejects.toMatchObject({ code: 'reply-failed' })
  })

  it.each<[string, WritableOptions]>([
    [
      'in write()',
      {
        write() {
          this.destroy()
        },
      },
    ],
    [
      'in final()',
      {
        write: (_chunk, _encoding, done) => done(),
        final() {
          this.destroy()
        },
      },
    ],
  ])('rejects with reply-failed if the stream is destroyed %s', async (_, how) => {
    const { upload } = await scene()
    await expect(upload({ reply: new Writable(how) })).rejects.toMatchObject({ code: 'reply-failed' })
  })

  it('destroys the stream and rejects with reply-changed if the reply changes', async () => {
    const stream = new PassThrough()
    stream.resume()
    const { upload } = await scene((get, index) =>
      index === 0
        ? cut(truncated(part(reply, get, { ETag: '"1"' }), 5000))
        : part(reply, get, { ETag: '"2"' }),
    )
    await expect(upload({ reply: stream })).rejects.toMatchObject({ code: 'reply-changed' })
    expect(stream.destroyed).toBe(true)
  })
})

describe('reply server', () => {
  const body = reply.toString('latin1')
  const ranged = (range: string, length = 10_240) =>
    rawResponse(206, { 'Content-Range': range }, body).replace(/Length: \d+/, `Length: ${length}`)
  it.each<[string, RawResponse, string]>([
    ['a 200 without Content-Length', `HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${body}`, 'reply-invalid'],
    ['a chunked body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 'reply-invalid'],
    ['a Content-Encoding', rawResponse(200, { 'Content-Encoding': 'gzip' }), 'reply-invalid'],
    ['a 206 without Content-Range', rawResponse(206, {}, body), 'reply-invalid'],
    ['a range in another unit', ranged('lines 0-10239/10240'), 'reply-invalid'],
    ['a range without total', ranged('bytes 0-10239/*'), 'reply-invalid'],
    ['a range with last < first', ranged('bytes 5-4/10240'), 'reply-invalid'],
    ['a range beyond the total', ranged('bytes 0-10240/10240', 10_241), 'reply-invalid'],
    ['a Content-Length unequal to the range', ranged('bytes 0-10238/10240'), 'reply-invalid'],
    ['a range that was not requested', ranged('bytes 1-10240/10241'), 'reply-invalid'],
    ['a 416 without Content-Range', rawResponse(416), 'reply-invalid'],
    ['a total above the default maxReplySize', ranged(`bytes 0-10239/${MiB + 1}`), 'reply-too-large'],
    ['a 404', rawResponse(404), 'not-found'],
    ['a redirect', rawResponse(302, { Location: '/elsewhere' }), 'redirected'],
    [
      'a 401 without credentials',
      rawResponse(401, { 'WWW-Authenticate': 'Basic realm="x"' }),
      'unauthorized',
    ],
  ])('ends the upload after %s, without another GET or Close-Session', async (_, answer, code) => {
    const { upload, ranges, server } = await scene(() => answer)
    await expect(upload()).rejects.toMatchObject({ code })
    expect(ranges()).toHaveLength(1)
    expect(server.requests()).not.toContain('Close-Session')
  })

  it('causes reply-too-large above maxReplySize, but not at that size', async () => {
    const { path } = await fileAndJob(file)
    for (const target of [undefined, `${path}.reply`]) {
      const { upload } = await scene()
      const more = target === undefined ? {} : { reply: target }
      await expect(upload({ ...more, maxReplySize: 10_239 })).rejects.toMatchObject({
        code: 'reply-too-large',
      })
      const { upload: again } = await scene()
      expect((await again({ ...more, maxReplySize: 10_240 })).reply?.size).toBe(10_240)
    }
  })

  it('receives headers, and credentials after a 401, on the origin of the upload', async () => {
    const { upload, server } = await scene((get) =>
      get.fields.authorization
        ? part(reply, get)
        : rawResponse(401, { 'WWW-Authenticate': 'Digest realm="x", nonce="y"' }),
    )
    await upload({ auth: { user: 'me', password: 'x' }, headers: { 'X-Token': 't' } })
    const [first, second] = server.packets.filter(({ type }) => type === 'GET')
    expect([first?.fields.authorization, second?.fields.authorization]).toEqual([
      undefined,
      expect.stringContaining('uri="/upload/replies/1"'),
    ])
    expect(first?.fields['x-token']).toBe('t')
  })

  it('receives neither headers nor credentials on another origin', async () => {
    const stranger = await fakeServer({
      file,
      answer: () => rawResponse(401, { 'WWW-Authenticate': 'Basic realm="x"' }),
    })
    const { upload } = await scene(undefined, {
      completed: { 'BITS-Reply-URL': new URL('reply', stranger.url).href },
    })
    const work = upload({ auth: { user: 'me', password: 'x' }, headers: { 'X-Token': 't' } })
    await expect(stranger.watch(work)).rejects.toMatchObject({ code: 'unauthorized' })
    const [get, ...more] = stranger.packets
    expect(more).toEqual([])
    expect(get?.fields).not.toHaveProperty('authorization')
    expect(get?.fields).not.toHaveProperty('x-token')
  })
})

describe('resolveReplyUrl', () => {
  it.each([
    ['replies/1', 'http://host:81/up/replies/1'],
    [
      'BITS-Sessions\\Replies\\{C85B}\\responsefile.bin',
      'http://host:81/up/BITS-Sessions/Replies/%7BC85B%7D/responsefile.bin',
    ],
    ['/replies/1?a={b}', 'http://host:81/replies/1?a={b}'],
    ['..\\1', 'http://host:81/1'],
    ['http://other/1', 'http://other/1'],
    ['https://other/1', 'https://other/1'],
    ['\\\\other\\1', 'http://other/1'],
    ['replies/größe 1', 'http://host:81/up/replies/gr%C3%B6%C3%9Fe%201'],
  ])('resolves %s to %s', (reference, url) => {
    expect(resolveReplyUrl(reference, new URL('http://host:81/up/a.bin?b=c')).href).toBe(url)
  })

  it.each([
    ['file:///etc/passwd', 'http://host/'],
    ['ftp://host/1', 'http://host/'],
    ['http://[::1', 'http://host/'],
    ['http://me:secret@host/1', 'http://host/'],
    ['http://host/1', 'https://host/'],
  ])('throws reply-invalid for %s in an upload to %s', (reference, destination) => {
    expect(() => resolveReplyUrl(reference, new URL(destination))).toThrow(
      expect.objectContaining({ code: 'reply-invalid' }),
    )
  })
})

it('uploadFile: fetches the reply after a paused upload is resumed', async () => {
  const { server } = await scene()
  const { path, job } = await fileAndJob(file)
  await pauseAt(5120, server, path, { ...options, job })
  const sent = server.packets.length
  await server.watch(uploadFile(path, new URL('a.bin', server.url), { ...options, job }))
  expect(server.requests().slice(sent)).toEqual(['Ping', 'Fragment 5120-9999', 'GET', 'Close-Session'])
})
