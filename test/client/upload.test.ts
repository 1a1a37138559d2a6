/** Whole uploads from every kind of source, to our own middleware and to the fake server. */

import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import {
  readdir,
  readFile,
  readlink,
  rename,
  stat,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type UploadProgress, type UploadSource, uploadFile } from '../../lib/client/index.ts'
import { BitsError, bitsUpload } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve, uploadServer } from '../support/server.ts'
import { all } from '../wire/setting.ts'
import { ack, fakeServer, listenRaw, rawResponse } from './fake-server.ts'
import { fileAndJob } from './setting.ts'

const file = noise(3_000_000)

const asSource = (bytes: Uint8Array, read: UploadSource['read']): UploadSource => ({
  size: bytes.length,
  read,
})

describe('uploadFile', () => {
  it.each([
    ['a path', async () => (await fileAndJob(file)).path],
    ['a file URL', async () => pathToFileURL((await fileAndJob(file)).path)],
    ['a Buffer', async () => file],
    ['a Uint8Array', async () => new Uint8Array(file)],
    [
      'chunks of odd sizes, some of them empty',
      async () =>
        asSource(file, async function* (start, end) {
          for (let at = start; at < end; at += 7777) {
            yield file.subarray(at, Math.min(end, at + 7777))
            yield new Uint8Array()
          }
        }),
    ],
    ['a stream', async () => asSource(file, (start, end) => Readable.from([file.subarray(start, end)]))],
  ])('uploads the bytes of %s', async (_, make) => {
    const { url, upload, directory } = await uploadServer()
    const closed = all(upload, 'closed')
    const destination = new URL('a.bin', url)
    const result = await uploadFile(await make(), destination)
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    const [{ id } = { id: '' }] = closed
    // 512 KiB, 1 MiB and the rest.
    expect(result).toEqual({ url: destination.href, size: file.length, sessionId: id, fragments: 3 })
  })

  it.each([0, 1, 5 * 1024, 5 * 1024 + 1, 64 * 1024, 64 * 1024 + 1])(
    'uploads a file of %i bytes in fragments of 5 KB',
    async (size) => {
      const { url, directory } = await uploadServer()
      const { path } = await fileAndJob(file.subarray(0, size))
      const { fragments } = await uploadFile(path, new URL('a.bin', url), { maxFragmentSize: '5kb' })
      expect((await readFile(join(directory, 'a.bin'))).equals(file.subarray(0, size))).toBe(true)
      expect(fragments).toBe(Math.max(1, Math.ceil(size / 5120)))
    },
  )

  it('stores the file under the decoded name of the URL', async () => {
    const { url, directory } = await uploadServer()
    for (const name of ['größe 100%.txt', 'a&b;c=d.txt', '漢字']) {
      await uploadFile(file.subarray(0, 100), new URL(encodeURIComponent(name), url))
      expect((await stat(join(directory, name))).size).toBe(100)
    }
  })
})

describe('invalid uploadFile source', () => {
  const yields = (...chunks: unknown[]) =>
    asSource(file.subarray(0, 100), async function* () {
      yield* chunks as Uint8Array[]
    })

  it.each([
    ['too few bytes', yields(file.subarray(0, 99)), 'read(0, 100) returned too few bytes'],
    ['no bytes', yields(), 'read(0, 100) returned too few bytes'],
    [
      'too many bytes',
      yields(file.subarray(0, 100), file.subarray(0, 1)),
      'read(0, 100) returned too many bytes',
    ],
    ['text', yields('text'), 'read(start, end) returns chunks of bytes'],
  ])('ends the upload before the file is complete if read() yields %s', async (_, source, message) => {
    const { url, upload } = await uploadServer()
    const uploaded = all(upload, 'uploaded')
    await expect(uploadFile(source, new URL('a.bin', url))).rejects.toThrow(message)
    expect(uploaded).toEqual([])
  })

  it('ends the upload with the error that read() throws', async () => {
    const { url } = await uploadServer()
    const error = new Error('no such tape')
    const source = asSource(file, () => {
      throw error
    })
    await expect(uploadFile(source, new URL('a.bin', url))).rejects.toBe(error)
  })

  it.each([
    ['a stream', Readable.from([]), /a stream has no size.*pass { size, read\(start, end\) }/],
    ['a web stream', new Blob(['x']).stream(), /a stream has no size/],
    ['undefined', undefined, /the source is a path, a Buffer, or/],
    ['an empty path', '', /the source is a path, a Buffer, or/],
    ['an object with an invalid size', { size: 1.5, read() {} }, /the source is a path, a Buffer, or/],
    ['an object without size', { read() {} }, /the source is a path, a Buffer, or/],
    ['an object with an invalid name', { size: 1, read() {}, name: 1 }, /the source is a path, a Buffer, or/],
  ])('causes a TypeError if it is %s', async (_, source, message) => {
    const error = await uploadFile(source as never, 'http://127.0.0.1:9/a').catch((reason) => reason)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(message)
  })

  it('causes source-failed, with the path in the message, if it is missing or a directory', async () => {
    const { directory } = await fileAndJob(file)
    for (const path of [join(directory, 'missing'), directory]) {
      await expect(uploadFile(path, 'http://127.0.0.1:9/a')).rejects.toMatchObject({
        code: 'source-failed',
        message: expect.stringContaining(path),
      })
    }
  })
})

describe('onProgress', () => {
  it('reports every state in order, with sent between held and total', async () => {
    const { url } = await uploadServer()
    const reports: UploadProgress[] = []
    await uploadFile(file, new URL('a.bin', url), { onProgress: (progress) => reports.push(progress) })
    const states = reports.map(({ state }) => state)
    expect(states.filter((state, i) => state !== states[i - 1])).toEqual([
      'create-session',
      'fragment',
      'close-session',
      'done',
    ])
    for (const { held, sent, total, rate, timeLeft, replyReceived } of reports) {
      expect(total).toBe(file.length)
      expect(sent).toBeGreaterThanOrEqual(held)
      expect(sent).toBeLessThanOrEqual(total)
      expect(rate).toBeGreaterThanOrEqual(0)
      expect(timeLeft).toBeGreaterThanOrEqual(0)
      expect(replyReceived).toBe(0)
    }
    expect(reports.at(-1)).toMatchObject({ held: file.length, sent: file.length, timeLeft: 0 })
    expect(reports.at(-1)?.rate).toBeGreaterThan(0)
  })

  it('reports waiting with error and retryIn after a 503, and sent equal to held', async () => {
    const small = file.subarray(0, 10_000)
    const server = await fakeServer({
      file: small,
      answer: ({ index }) => (index === 2 ? rawResponse(503) : undefined),
    })
    const reports: UploadProgress[] = []
    await server.watch(
      uploadFile(small, new URL('a.bin', server.url), {
        maxFragmentSize: '5kb',
        retryDelay: 1,
        onProgress: (progress) => reports.push(progress),
      }),
    )
    const [waiting, ...others] = reports.filter(({ state }) => state === 'waiting')
    expect(others).toEqual([])
    expect(waiting).toMatchObject({
      held: 5120,
      sent: 5120,
      error: expect.any(Error),
      retryIn: expect.any(Number),
    })
    expect(waiting?.error?.message).toBe(
      'Fragment was answered 503: the server or a proxy is overloaded or stopping',
    )
    expect(waiting?.retryIn).toBeLessThan(1)
  })

  it('ends the upload with the exception that it throws', async () => {
    const { url } = await uploadServer()
    const error = new Error('enough')
    for (const wanted of ['create-session', 'fragment', 'close-session']) {
      const onProgress = ({ state }: UploadProgress): void => {
        if (state === wanted) throw error
      }
      await expect(uploadFile(file, new URL('a.bin', url), { onProgress })).rejects.toBe(error)
    }
  })
})

describe('signal option', () => {
  it('rejects with the abort reason during create-session, fragment and close-session', async () => {
    const { url } = await uploadServer()
    for (const wanted of ['create-session', 'fragment', 'close-session']) {
      const controller = new AbortController()
      const reason = { any: 'value' }
      const onProgress = ({ state }: UploadProgress): void => {
        if (state === wanted) controller.abort(reason)
      }
      const upload = uploadFile(file, new URL(wanted, url), { onProgress, signal: controller.signal })
      await expect(upload).rejects.toBe(reason)
    }
  })

  it('rejects while the upload waits for the next try', async () => {
    const controller = new AbortController()
    const onProgress = ({ state }: UploadProgress): void => {
      if (state === 'waiting') controller.abort()
    }
    const server = await fakeServer({ file, answer: () => 'cut' })
    const upload = uploadFile(file, new URL('a.bin', server.url), {
      onProgress,
      retryDelay: 1e6,
      maxRetryDelay: 1e6,
      signal: controller.signal,
    })
    await expect(server.watch(upload)).rejects.toThrow('aborted')
  })

  it('rejects while an answer is awaited, and if it is already aborted', async () => {
    const controller = new AbortController()
    const server = await fakeServer({ file })
    server.hangAt = 0
    server.onHang = () => controller.abort()
    const options = { signal: controller.signal }
    await expect(server.watch(uploadFile(file, server.url, options))).rejects.toThrow('aborted')
    await expect(uploadFile('not even there', server.url, options)).rejects.toThrow('aborted')
  })
})

describe('uploadFile to bitsUpload()', () => {
  it.each([
    ['access-denied', { authorize: (): boolean => false }, 403, 0x80070005],
    ['unauthorized', { authorize: () => Promise.reject(new BitsError('unauthorized')) }, 401, undefined],
    ['too-large', { maxSize: 100 }, 500, 0x80200020],
    ['not-supported', { enabled: false }, 501, 0x80070005],
    [
      'application-refused',
      { onUpload: () => Promise.reject(new BitsError('application-refused')) },
      403,
      0x80070005,
    ],
  ] as const)('rejects with %s, its status and its HRESULT', async (code, options, status, hresult) => {
    const { url } = await uploadServer(options)
    const upload = uploadFile(file, new URL('a.bin', url))
    await expect(upload).rejects.toMatchObject({ name: 'UploadError', code, status, hresult })
  })

  it('rejects an existing file (403), a missing folder (404) and invalid names (400)', async () => {
    const { url } = await uploadServer()
    const upload = (name: string) => uploadFile(file.subarray(0, 10), new URL(name, url))
    await upload('a.bin')
    await expect(upload('a.bin')).rejects.toMatchObject({ code: 'access-denied', status: 403, context: 5 })
    await expect(upload('b/a.bin')).rejects.toMatchObject({ code: 'not-found', status: 404 })
    await expect(upload('')).rejects.toMatchObject({ code: 'invalid-request', status: 400 })
    await expect(upload('nul')).rejects.toThrow('Create-Session was answered 400, 0x80070057.')
  })

  it('completes if the server limits maxFragmentSize to 300 KB', async () => {
    const { url, directory } = await uploadServer({ maxFragmentSize: '300kb' })
    await uploadFile(file, new URL('a.bin', url))
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
  })
})

it('uploadFile: rejects with empty-file when the server answers 400 to an empty fragment', async () => {
  const server = await fakeServer({
    file: new Uint8Array(),
    answer: ({ type }) => (type === 'Fragment' ? rawResponse(400) : undefined),
  })
  const upload = uploadFile(new Uint8Array(), new URL('a.bin', server.url))
  await expect(server.watch(upload)).rejects.toMatchObject({ code: 'empty-file', status: 400 })
})

describe('source that changes during the upload', () => {
  const changes: [string, (path: string) => Promise<void>][] = [
    ['grows', (path) => writeFile(path, 'more', { flag: 'a' })],
    ['shrinks', (path) => truncate(path, 10)],
    [
      'is replaced by an identical one',
      async (path) => {
        await writeFile(`${path}.new`, small)
        await utimes(`${path}.new`, 1e9, 1e9)
        await rename(`${path}.new`, path)
      },
    ],
    ['is written to', (path) => writeFile(path, 'x', { flag: 'r+' })],
    ['is removed', (path) => unlink(path)],
  ]
  const small = file.subarray(0, 10_000)
  it.each(changes)('causes file-changed after the first fragment if the file %s', async (_, change) => {
    const { path } = await fileAndJob(small)
    await utimes(path, 1e9, 1e9)
    const server = await fakeServer({
      file: small,
      async answer({ type }) {
        if (type === 'Fragment') await change(path)
        return undefined
      },
    })
    const upload = uploadFile(path, new URL('a.bin', server.url), { maxFragmentSize: '5kb' })
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'file-changed' })
    expect(server.requests()).toEqual(['Create-Session', 'Fragment 0-5119'])
  })

  it('causes file-changed before the first fragment if an empty file grows', async () => {
    const { path } = await fileAndJob(new Uint8Array())
    const server = await fakeServer({
      file: small,
      async answer() {
        await writeFile(path, 'x')
        return undefined
      },
    })
    const upload = uploadFile(path, new URL('a.bin', server.url))
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'file-changed' })
    expect(server.requests()).toEqual(['Create-Session'])
  })

  it("causes file-changed if the version of the caller's own source changes", async () => {
    const source = {
      ...asSource(small, (start, end) => Readable.from([small.subarray(start, end)])),
      version: '1',
    }
    const server = await fakeServer({
      file: small,
      answer({ type }) {
        if (type === 'Fragment') source.version = '2'
        return undefined
      },
    })
    const upload = uploadFile(source, new URL('a.bin', server.url), { maxFragmentSize: '5kb' })
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'file-changed' })
    expect(server.requests()).toEqual(['Create-Session', 'Fragment 0-5119'])
  })
})

it.runIf(process.platform === 'linux')('uploadFile: closes the source on success and on error', async () => {
  const { path } = await fileAndJob(file)
  const isOpen = async (): Promise<boolean> => {
    const open = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    )
    return open.includes(path)
  }
  const whole = await uploadServer()
  let opened = false
  const onProgress = (): void => {
    opened ||= readdirSync('/proc/self/fd').some(
      (fd) => existsSync(`/proc/self/fd/${fd}`) && readlinkSync(`/proc/self/fd/${fd}`) === path,
    )
  }
  await uploadFile(path, new URL('a.bin', whole.url), { onProgress })
  expect([opened, await isOpen()]).toEqual([true, false])
  await expect(uploadFile(path, new URL('a.bin', whole.url))).rejects.toMatchObject({ status: 403 })
  expect(await isOpen()).toBe(false)
})

it('uploadFile: grows the fragments up to maxFragmentSize while Acks are fast', async () => {
  const large = noise(4_000_000)
  const server = await fakeServer({ file: large })
  await server.watch(uploadFile(large, new URL('a.bin', server.url), { maxFragmentSize: '1.5mb' }))
  const lengths = server.packets.filter(({ type }) => type === 'Fragment').map(({ body }) => body.length)
  const KiB = 1024
  expect(lengths).toEqual([512 * KiB, 1024 * KiB, 1536 * KiB, 4_000_000 - 3072 * KiB])
})

it('uploadFile: halves the fragment size after a broken connection, but not after 503', async () => {
  const large = noise(1_000_000)
  const answers = [rawResponse(503), 'cut']
  const server = await fakeServer({
    file: large,
    answer: ({ type }) => (type === 'Fragment' ? answers.shift() : undefined),
  })
  await server.watch(uploadFile(large, new URL('a.bin', server.url), { retryDelay: 1 }))
  const lengths = server.packets.filter(({ type }) => type === 'Fragment').map(({ body }) => body.length)
  expect(lengths.slice(0, 3)).toEqual([512 * 1024, 512 * 1024, 256 * 1024])
})

it('uploadFile: halves the fragment size after sendTimeout without a sent byte', async () => {
  const server = await fakeServer({ file })
  const ranges: string[] = []
  const source = asSource(file, async function* (start, end) {
    ranges.push(`${start}-${end}`)
    // The first fragment makes no progress.
    if (ranges.length === 1) await new Promise(() => {})
    yield file.subarray(start, end)
  })
  const options = { maxFragmentSize: 100_000, sendTimeout: 50, retryDelay: 1 }
  await server.watch(uploadFile(source, new URL('a.bin', server.url), options))
  expect(ranges.slice(0, 2)).toEqual(['0-100000', '0-50000'])
})

it('uploadFile: completes when a proxy answers large fragments with 413 and a reset', async () => {
  const directory = await temporaryDirectory()
  const receiver = bitsUpload({ store: directory })
  const large = noise(1_000_000)
  const url = await serve((request, response) => {
    if (Number(request.headers['content-length']) <= 100_000) return receiver(request, response, () => {})
    response.writeHead(413, { 'Content-Length': 0 }).end()
    request.socket.resetAndDestroy()
  })
  await uploadFile(large, new URL('a.bin', url), { retryDelay: 1, maxRetryDelay: 1 })
  expect((await readFile(join(directory, 'a.bin'))).equals(large)).toBe(true)
})

it('uploadFile: sends headers with every packet, and Content-Name with all but Ping', async () => {
  const small = file.subarray(0, 10)
  const server = await fakeServer({ file: small, created: { 'BITS-Host-Id': 'localhost' } })
  const headers = { 'X-Token': 'a b', Authorization: 'Bearer x', 'user-agent': 'curl/8' }
  const source = {
    ...asSource(small, (start, end) => Readable.from([small.subarray(start, end)])),
    name: 'a b.bin',
  }
  await server.watch(uploadFile(source, new URL('a.bin', server.url), { headers }))
  expect(server.packets).toHaveLength(4)
  for (const { fields, head, type } of server.packets) {
    expect(fields).toMatchObject({ 'x-token': 'a b', authorization: 'Bearer x', 'user-agent': 'curl/8' })
    expect(head.match(/user-agent/gi)).toHaveLength(1)
    expect(fields['content-name']).toBe(type === 'Ping' ? undefined : 'a b.bin')
  }
})

it.each(['a/b', 'a:b', 'größe', '', 'a'.repeat(261)])(
  'uploadFile: sends no Content-Name for the name %j',
  async (name) => {
    const small = file.subarray(0, 10)
    const server = await fakeServer({ file: small })
    const source = { ...asSource(small, (start, end) => Readable.from([small.subarray(start, end)])), name }
    await server.watch(uploadFile(source, new URL('a.bin', server.url)))
    for (const { fields } of server.packets) expect(fields).not.toHaveProperty('content-name')
  },
)

it('uploadFile: accepts 201 for Create-Session, and a 200 with error headers for Ping', async () => {
  const small = file.subarray(0, 10)
  const server = await fakeServer({
    file: small,
    answer({ type }, iis) {
      if (type === 'Ping')
        return rawResponse(200, { 'BITS-Packet-Type': 'ACK', 'BITS-Error-Code': 1, 'BITS-Error-Context': '' })
      if (type !== 'Create-Session') return undefined
      iis.sessionId = 'not a GUID'
      return rawResponse(201, {
        'bits-packet-type': 'ack',
        'bits-protocol': '{7DF0354D-249B-430F-820D-3D2A9BEF4931}',
        'bits-session-id': iis.sessionId,
        'BITS-Host-Id': 'localhost',
      })
    },
  })
  const { sessionId } = await server.watch(uploadFile(small, new URL('a.bin', server.url)))
  expect(sessionId).toBe('not a GUID')
})

it('uploadFile: rejects with protocol-mismatch if the server names another protocol', async () => {
  const other = { 'BITS-Packet-Type': 'Ack', 'BITS-Protocol': '{0}', 'BITS-Session-Id': 'x' }
  const server = await fakeServer({ file, answer: () => rawResponse(200, other) })
  await expect(server.watch(uploadFile(file, server.url))).rejects.toMatchObject({
    code: 'protocol-mismatch',
  })
  expect(server.packets).toHaveLength(1)
})

it('uploadFile: rejects with invalid-answer for HTML at the start, but retries it later', async () => {
  const page = rawResponse(200, { 'Content-Type': 'text/html' }, '<html>')
  const server = await fakeServer({ file, answer: () => page })
  const upload = uploadFile(file, server.url, { retryDelay: 1 })
  await expect(server.watch(upload)).rejects.toMatchObject({ code: 'invalid-answer', status: 200 })
  expect(server.packets).toHaveLength(5)

  // The page of a proxy on the way, as in hotels, is temporary.
  const small = file.subarray(0, 10_000)
  const pages = Array.from({ length: 20 }, () => page)
  const later = await fakeServer({
    file: small,
    answer: ({ type, first }) => (type === 'Fragment' && first > 0 ? pages.shift() : undefined),
  })
  const options = { maxFragmentSize: '5kb', retryDelay: 1, maxRetryDelay: 1 }
  await later.watch(uploadFile(small, new URL('a.bin', later.url), options))
  expect(pages).toEqual([])
})

it('uploadFile: rejects with invalid-answer for an Ack with a body', async () => {
  const small = file.subarray(0, 10)
  const server = await fakeServer({
    file: small,
    answer: ({ type }) =>
      type === 'Fragment'
        ? rawResponse(200, { 'BITS-Packet-Type': 'Ack', 'BITS-Received-Content-Range': 10 }, 'body')
        : undefined,
  })
  const upload = uploadFile(small, new URL('a.bin', server.url), { retryDelay: 1 })
  await expect(server.watch(upload)).rejects.toMatchObject({ code: 'invalid-answer' })
})

it('uploadFile: keeps one connection through 503, 408 and 413 answers with bodies', async () => {
  const small = file.subarray(0, 10_000)
  const page = 'x'.repeat(60_000)
  const answers = [rawResponse(503, {}, page), rawResponse(408, {}, page), rawResponse(413, {}, page)]
  const server = await fakeServer({
    file: small,
    answer: ({ type }) => (type === 'Fragment' ? answers.shift() : undefined),
  })
  await server.watch(
    uploadFile(small, new URL('a.bin', server.url), { maxFragmentSize: '6kb', retryDelay: 1 }),
  )
  expect(answers).toHaveLength(0)
  expect(server.connections).toBe(1)
})

it('uploadFile: rejects with access-denied for a 403 with an endless body', async () => {
  const server = createServer((socket) => {
    const chunk = `10000\r\n${'x'.repeat(65_536)}\r\n`
    const more = (error?: Error | null): void => {
      if (!error) socket.write(chunk, more)
    }
    socket.once('data', () => {
      socket.write('HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n')
      more()
    })
  })
  const url = await listenRaw(server)
  await expect(uploadFile(file, url)).rejects.toMatchObject({ code: 'access-denied' })
})

it('uploadFile: rejects with a 403 that arrives before the whole fragment is sent', async () => {
  const server = createServer((socket) => {
    socket.on('data', (chunk) => {
      const head = chunk.toString('latin1')
      const created = {
        'BITS-Protocol': '{7df0354d-249b-430f-820d-3d2a9bef4931}',
        'BITS-Session-Id': 'x',
      }
      if (head.includes('Create-Session')) socket.write(ack(200, created))
      if (head.includes('Fragment')) socket.write(ack(403))
    })
  })
  const url = await listenRaw(server)
  const never = new Promise<void>(() => {})
  const source = asSource(file, async function* () {
    yield file.subarray(0, 1000)
    await never
  })
  await expect(uploadFile(source, new URL('a.bin', url))).rejects.toMatchObject({ status: 403 })
})
