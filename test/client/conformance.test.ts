/**
 * Conformance cases 111 to 125, which concern the client. The server in fake-server.ts checks every request.
 */

import { access } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { cancelUpload, UploadError, type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'
import { ack, type Behaviour, failed, fakeServer, type Packet, rawResponse, received } from './fake-server.ts'
import { fastClock, fileAndJob, pauseAt, uploadBy } from './setting.ts'

const KiB = 1024
/** Four fragments. */
const file = noise(20 * KiB)
const fragments = ['Fragment 0-5119', 'Fragment 5120-10239', 'Fragment 10240-15359', 'Fragment 15360-20479']
/** Short delays. */
const options: UploadOptions = { maxFragmentSize: 5 * KiB, retryDelay: 1, maxRetryDelay: 1 }
const SessionNotFound = '0x8020001F'

const serve = (behaviour: Partial<Behaviour> = {}) => fakeServer({ file, ...behaviour })

/** Uploads `file` to a server. */
const upload = (server: Awaited<ReturnType<typeof serve>>, more: UploadOptions = {}) =>
  server.watch(uploadFile(file, new URL('a.bin', server.url), { ...options, ...more }))

/** The UploadError that an upload rejects with. */
const failure = async (work: Promise<unknown>): Promise<UploadError> => {
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(UploadError)
  return error
}

type Answerer = NonNullable<Behaviour['answer']>

/** Sends each of the responses once, to packets that match. */
const once = (matches: (packet: Packet) => boolean, ...answers: string[]): Answerer => {
  return (packet) => (matches(packet) ? answers.shift() : undefined)
}
const fragmentAt = (offset: number) => (packet: Packet) =>
  packet.type === 'Fragment' && packet.first === offset
const ofType = (type: string) => (packet: Packet) => packet.type === type

describe('Host-Id', () => {
  const created = { 'BITS-Host-Id': 'localhost', 'BITS-Host-Id-Fallback-Timeout': '100' }

  it('111: sends Ping and all later packets to the host in the Create Ack, with the same path', async () => {
    const server = await serve({ created })
    const url = new URL('a%20b/c.bin?x=1&y={2}', server.url)
    await server.watch(uploadFile(file, url, options))
    expect(server.requests()).toEqual(['Create-Session', 'Ping', ...fragments, 'Close-Session'])
    const [create, ...later] = server.packets
    expect(create?.host).toBe('127.0.0.1')
    for (const { host, target } of later) {
      expect([host, target]).toEqual(['localhost', url.pathname + url.search])
    }
  })

  it('112: returns to the origin host after the fallback timeout, and starts over on 0x8020001F', async () => {
    let lost = false
    const server = await serve({
      answer({ host, type, first }, iis) {
        lost ||= first === 10_240
        if (lost && host === 'localhost') return 'cut'
        // The origin host does not know the session.
        if (type === 'Fragment' && lost && iis.sessions === 1) return failed(500, SessionNotFound)
        return type === 'Create-Session' && lost
          ? ack(200, {
              'BITS-Protocol': '{7df0354d-249b-430f-820d-3d2a9bef4931}',
              'BITS-Session-Id': second(iis),
            })
          : undefined
      },
      created,
    })
    const second = (iis: { sessionId: string | undefined; held: number; sessions: number }) => {
      Object.assign(iis, { sessionId: 'another', held: 0, sessions: 2 })
      return 'another'
    }
    const clock = fastClock()
    const began = clock.time
    const more = { ...options, retryDelay: 10_000, maxRetryDelay: 10_000 }
    await server.watch(uploadBy(clock, file, new URL('a.bin', server.url), more))
    expect(clock.time - began).toBe(100_000)
    const atNode = server.packets.filter(({ host }) => host === 'localhost')
    const tried = atNode.length + 1
    expect(server.requests().slice(0, tried)).toEqual([
      'Create-Session',
      'Ping',
      ...fragments.slice(0, 3),
      // The first at once, because the kept connection was stale; then one every 10 seconds.
      ...Array.from({ length: 10 }, () => 'Ping'),
    ])
    expect(server.requests().slice(tried)).toEqual([
      'Ping',
      'Fragment 10240-15359',
      'Create-Session',
      ...fragments,
      'Close-Session',
    ])
  })

  it('112: never returns to the origin host without a fallback timeout', async () => {
    const server = await serve({
      created: { 'BITS-Host-Id': 'localhost' },
      answer: ({ type, first }) => (type === 'Ping' || first === 0 ? undefined : 'cut'),
    })
    const clock = fastClock()
    const more = { ...options, retryDelay: 1e8, maxRetryDelay: 1e8, noProgressTimeout: 1e9 }
    const work = uploadBy(clock, file, new URL('a.bin', server.url), more)
    expect((await failure(server.watch(work))).code).toBe('no-progress')
    expect(server.packets.filter(({ host }) => host === '127.0.0.1')).toHaveLength(1)
  })

  it('112: resets the fallback timer after a successful Fragment', async () => {
    // The node fails for 60 s, accepts one fragment, and fails for 60 s again.
    const server = await serve({
      created,
      answer: ({ type, first, host }) => {
        const { time } = clock
        const works =
          host !== 'localhost' || time - began >= 120_000 || (time - began >= 60_000 && first < 5120)
        return works || type === 'Create-Session' ? undefined : 'cut'
      },
    })
    const clock = fastClock()
    const began = clock.time
    const more = { ...options, retryDelay: 10_000, maxRetryDelay: 10_000 }
    await server.watch(uploadBy(clock, file, new URL('a.bin', server.url), more))
    expect(server.packets.filter(({ host }) => host === '127.0.0.1')).toHaveLength(1)
  })
})

describe('Fragment offset', () => {
  it('113: is N in the next fragment after 416 with N', async () => {
    const server = await serve({
      answer({ first, index }, iis) {
        if (first !== 5120 || index > 2) return undefined
        // As after the restore of a backup.
        iis.held = 2000
        return received(2000, 416)
      },
    })
    await upload(server)
    expect(server.requests()).toEqual([
      'Create-Session',
      'Fragment 0-5119',
      'Fragment 5120-10239',
      'Fragment 2000-7119',
      'Fragment 7120-12239',
      'Fragment 12240-17359',
      'Fragment 17360-20479',
      'Close-Session',
    ])
  })

  it.each([
    ['smaller', 300],
    ['larger', 9000],
  ])('114: is N in the next fragment after 200 with an N %s than expected', async (_, offset) => {
    const server = await serve({
      answer({ index }, iis) {
        if (index !== 1) return undefined
        iis.held = offset
        return received(offset)
      },
    })
    await upload(server)
    expect(server.requests()[2]).toBe(`Fragment ${offset}-${offset + 5119}`)
    expect(server.requests().at(-1)).toBe('Close-Session')
  })

  it.each([200, 416])('115: causes Close-Session at once after %i with N = size', async (status) => {
    const server = await serve({ answer: once(fragmentAt(0), received(file.length, status)) })
    await upload(server)
    expect(server.requests()).toEqual(['Create-Session', 'Fragment 0-5119', 'Close-Session'])
  })

  it.each([
    ['N > size', received(20_481)],
    ['N that is no number', received('many')],
    ['a negative N', received(-1)],
    ['N with a sign', received('+5120')],
    ['N twice', ack(200, { 'BITS-Received-Content-Range': 5120, 'bits-received-content-range': 5120 })],
    ['N above 2^53 - 1', received('9'.repeat(30))],
    ['no N', ack(200)],
  ])('124: causes invalid-answer after 5 answers with %s', async (_, answer) => {
    const server = await serve({ answer: (packet) => (packet.type === 'Fragment' ? answer : undefined) })
    expect((await failure(upload(server))).code).toBe('invalid-answer')
    expect(server.requests().filter((text) => text === 'Fragment 0-5119')).toHaveLength(5)
  })

  it.each([
    ['an Ack', ack(416)],
    ['an error page', rawResponse(416, { 'Content-Type': 'text/html' }, '<h1>416</h1>')],
    ['an offset that is no number', received('many', 416)],
  ])('begins one new session after a 416 without offset: %s', async (_, answer) => {
    let answers = 1
    const server = await serve({
      answer: (packet) => (packet.type === 'Fragment' && answers-- > 0 ? answer : undefined),
    })
    await upload(server)
    expect(server.iis.sessions).toBe(2)
    answers = 2
    expect(await failure(upload(server))).toMatchObject({ code: 'invalid-answer', status: 416 })
    expect(server.iis.sessions).toBe(4)
  })

  it.each([408, 409, 429])('repeats a Close-Session that was answered %i', async (status) => {
    let answers = 2
    const server = await serve({
      answer: ({ type }) => (type === 'Close-Session' && answers-- > 0 ? rawResponse(status) : undefined),
    })
    await upload(server)
    expect(server.requests().filter((text) => text === 'Close-Session')).toHaveLength(3)
  })

  it.each([
    ['of 404.13 by IIS', 404, 10_000, undefined],
    ['of 404.13 by IIS, in a folder that is gone', 404, 0, 'not-found'],
    ['of 413', 413, 0, 'fragment-too-large'],
  ])('sends smaller fragments after an error page %s', async (_, status, limit, code) => {
    const server = await serve({
      answer: ({ type, body }) =>
        type === 'Fragment' && body.length > limit
          ? rawResponse(status, { Server: 'Microsoft-IIS/10.0' }, `<h1>${status}</h1>`)
          : undefined,
    })
    const work = server.watch(
      uploadFile(file, new URL('a.bin', server.url), { maxFragmentSize: 20_480, noProgressTimeout: 0 }),
    )
    if (code === undefined) await work
    else expect((await failure(work)).code).toBe(code)
    const lengths = server.packets.filter(({ type }) => type === 'Fragment').map(({ body }) => body.length)
    expect(lengths.slice(0, 3)).toEqual([20_480, 10_240, 5120])
  })

  it('ends with the cause first: 409 for Create-Session', async () => {
    const server = await serve({
      answer: ({ type }) => (type === 'Create-Session' ? rawResponse(409) : undefined),
    })
    const { code, message } = await failure(
      server.watch(uploadFile(file, server.url, { noProgressTimeout: 0 })),
    )
    expect(code).toBe('no-progress')
    expect(message).toBe(
      'Create-Session was answered 409: the file exists, or another upload of it is open. ' +
        'There was no progress for `noProgressTimeout`; try again when the cause is removed.',
    )
  })

  it('124: allows 4 malformed answers before each correct one', async () => {
    const answers = Array.from({ length: 4 }, () => [
      ack(200),
      ack(200),
      ack(200),
      ack(200),
      undefined,
    ]).flat()
    const server = await serve({ answer: ({ type }) => (type === 'Fragment' ? answers.shift() : undefined) })
    await upload(server)
    expect(answers).toEqual([])
    expect(server.requests().at(-1)).toBe('Close-Session')
  })

  it.each([200, 416])('125: causes stuck after the same N in five %i answers in a row', async (status) => {
    const server = await serve({
      answer: ({ type }) => (type === 'Fragment' ? received(1000, status) : undefined),
    })
    const clock = fastClock()
    const work = uploadBy(clock, file, new URL('a.bin', server.url), {
      ...options,
      retryDelay: 10,
      maxRetryDelay: 10_000,
    })
    expect((await failure(server.watch(work))).code).toBe('stuck')
    // The first step back is a correction; before each later fragment the client waits.
    expect(clock.waits).toEqual([10, 20])
    const [, ...rest] = server.requests()
    expect(rest).toEqual(['Fragment 0-5119', ...Array.from({ length: 4 }, () => 'Fragment 1000-6119')])
  })

  it('125: causes stuck, within 50 fragments, when N alternates between two values', async () => {
    let turn = 0
    const server = await serve({
      answer({ type }) {
        if (type !== 'Fragment') return undefined
        turn += 1
        return received(turn % 2 ? 10_000 : 100)
      },
    })
    expect((await failure(upload(server))).code).toBe('stuck')
    expect(turn).toBeLessThan(50)
  })
})

describe('Fragment size', () => {
  const large: UploadOptions = { ...options, maxFragmentSize: 40 * KiB }
  const lengths = (packets: readonly Packet[]): number[] =>
    packets.filter(ofType('Fragment')).map(({ body }) => body.length)

  it('116: is halved after 413', async () => {
    const server = await serve({
      answer: ({ body }) => (body.length > 7000 ? rawResponse(413, {}, 'too large') : undefined),
    })
    await upload(server, large)
    expect(lengths(server.packets)).toEqual([20_480, 10_240, 5120, 5120, 5120, 5120])
  })

  it('116: is never below 5 KB, and 413 for that size causes fragment-too-large', async () => {
    const server = await serve({ answer: ({ type }) => (type === 'Fragment' ? rawResponse(413) : undefined) })
    const error = await failure(upload(server, large))
    expect([error.code, error.status]).toEqual(['fragment-too-large', 413])
    expect(lengths(server.packets)).toEqual([20_480, 10_240, 5120])
  })
})

describe('0x8020001F (session not found)', () => {
  it('117: starts a new session when returned for Fragment', async () => {
    const server = await serve({ answer: once(fragmentAt(10_240), failed(500, SessionNotFound)) })
    const { sessionId } = await upload(server)
    expect(server.requests()).toEqual([
      'Create-Session',
      ...fragments.slice(0, 3),
      'Create-Session',
      ...fragments,
      'Close-Session',
    ])
    expect(sessionId).toBe(server.packets.at(-1)?.fields['bits-session-id'])
  })

  it('117: starts a new session when returned for Close-Session', async () => {
    const server = await serve({ answer: once(ofType('Close-Session'), failed(500, SessionNotFound)) })
    await upload(server)
    const whole = ['Create-Session', ...fragments, 'Close-Session']
    expect(server.requests()).toEqual([...whole, ...whole])
  })

  it('117: completes the upload when returned for a Close-Session repeated after a lost Ack', async () => {
    const server = await serve({
      answer({ type }, iis) {
        if (type !== 'Close-Session' || iis.sessionId === undefined) return undefined
        iis.sessionId = undefined
        return 'cut'
      },
    })
    await upload(server)
    expect(server.requests()).toEqual([
      'Create-Session',
      ...fragments,
      'Close-Session',
      'Ping',
      'Close-Session',
    ])
  })

  it('117: starts a new session when returned for a Close-Session repeated after 503', async () => {
    const answers = [ack(503), failed(500, SessionNotFound)]
    const server = await serve({ answer: once(ofType('Close-Session'), ...answers) })
    await upload(server)
    expect(server.requests().filter((text) => text === 'Create-Session')).toHaveLength(2)
  })

  it('117: completes cancelUpload and removes the job file when returned for Cancel-Session', async () => {
    const server = await serve({ answer: once(ofType('Cancel-Session'), failed(500, SessionNotFound)) })
    const { path, job } = await fileAndJob(file)
    await pauseAt(5120, server, path, { ...options, job })
    const sent = server.packets.length
    await server.watch(cancelUpload(job, { retryDelay: 1 }))
    expect(server.requests().slice(sent)).toEqual(['Cancel-Session'])
    await expect(access(job)).rejects.toThrow('ENOENT')
  })

  it('117: causes session-lost after 6 sessions when returned for every Fragment', async () => {
    const server = await serve({
      answer: ({ type }) => (type === 'Fragment' ? failed(500, SessionNotFound) : undefined),
    })
    const clock = fastClock()
    const work = uploadBy(clock, file, new URL('a.bin', server.url), {
      ...options,
      retryDelay: 10,
      maxRetryDelay: 10_000,
    })
    expect((await failure(server.watch(work))).code).toBe('session-lost')
    expect(server.iis.sessions).toBe(6)
    expect(clock.waits).toEqual([10, 20, 40, 80])
  })

  it('117: causes session-lost after 6 sessions when returned for every Close-Session', async () => {
    const server = await serve({
      answer: ({ type }) => (type === 'Close-Session' ? failed(500, SessionNotFound) : undefined),
    })
    expect((await failure(upload(server))).code).toBe('session-lost')
    expect(server.iis.sessions).toBe(6)
  })

  it.each([
    ['BITS-Error', '0x8020001F'],
    ['BITS-Error-Code', '0x8020001F'],
    ['bits-error', 'x8020001f'],
    ['BITS-ERROR-CODE', '0X8020001F'],
  ])('121: is recognized in %s: %s alone', async (name, value) => {
    const server = await serve({ answer: once(fragmentAt(5120), ack(500, { [name]: value })) })
    await upload(server)
    expect(server.iis.sessions).toBe(2)
  })
})

describe('Close-Session', () => {
  it('118: is sent again, each time after a Ping, on 503 and 501', async () => {
    const server = await serve({ answer: once(ofType('Close-Session'), ack(503), rawResponse(501)) })
    await upload(server)
    const close = ['Ping', 'Close-Session']
    expect(server.requests()).toEqual(['Create-Session', ...fragments, 'Close-Session', ...close, ...close])
  })

  it('118: is not sent again on 404, and the upload rejects with not-found', async () => {
    const server = await serve({ answer: once(ofType('Close-Session'), ack(404)) })
    const error = await failure(upload(server))
    expect([error.code, error.status]).toEqual(['not-found', 404])
    expect(server.requests()).toEqual(['Create-Session', ...fragments, 'Close-Session'])
  })
})

describe('Ping', () => {
  it('119: is sent before the next Fragment when a paused upload is resumed', async () => {
    const server = await serve()
    const { path, job } = await fileAndJob(file)
    await pauseAt(10_240, server, path, { ...options, job })
    const sent = server.packets.length
    await server.watch(uploadFile(path, new URL('a.bin', server.url), { ...options, job }))
    expect(server.requests().slice(sent)).toEqual(['Ping', ...fragments.slice(2), 'Close-Session'])
  })

  it('119: is sent before the next Fragment after a broken connection', async () => {
    const server = await serve({ answer: once(fragmentAt(5120), 'cut') })
    await upload(server)
    const [first, ...rest] = fragments
    expect(server.requests()).toEqual(['Create-Session', first, rest[0], 'Ping', ...rest, 'Close-Session'])
  })
})

describe('BITS-Session-Id in Acks', () => {
  it('120: may be absent from all Acks after Create-Session', async () => {
    const server = await serve()
    await upload(server)
    expect(server.requests().at(-1)).toBe('Close-Session')
  })

  it('120: causes invalid-answer if absent from the Create Ack, or of another session', async () => {
    const nameless = ack(200, { 'BITS-Protocol': '{7df0354d-249b-430f-820d-3d2a9bef4931}' })
    const created = await serve({ answer: ({ type }) => (type === 'Create-Session' ? nameless : undefined) })
    expect((await failure(upload(created))).code).toBe('invalid-answer')

    const other = ack(200, { 'BITS-Session-Id': 'other', 'BITS-Received-Content-Range': 5120 })
    const mixed = await serve({ answer: ({ type }) => (type === 'Fragment' ? other : undefined) })
    expect((await failure(upload(mixed))).code).toBe('invalid-answer')
  })
})

describe('upload-reply', () => {
  const reply = 'the reply'
  const completed = { 'BITS-Reply-URL': 'BITS-Sessions\\Replies\\{C85B4E0A-6EB9}\\response file.bin' }
  const answer: Answerer = ({ type }) =>
    type === 'GET' ? rawResponse(206, { 'Content-Range': `bytes 0-8/9` }, reply) : undefined

  it('122: resolves a relative BITS-Reply-URL with backslashes and braces against the destination', async () => {
    const server = await serve({ completed, answer })
    const { reply: fetched } = await server.watch(
      uploadFile(file, new URL('a/b.bin?c=d', server.url), options),
    )
    expect(fetched?.data?.toString()).toBe(reply)
    const [get] = server.packets.filter(ofType('GET'))
    expect(get?.target).toBe('/upload/a/BITS-Sessions/Replies/%7BC85B4E0A-6EB9%7D/response%20file.bin')
  })

  it('123: fetches the reply before Close-Session', async () => {
    const server = await serve({ completed, answer })
    await upload(server)
    expect(server.requests()).toEqual(['Create-Session', ...fragments, 'GET', 'Close-Session'])
  })
})
