/** Cases 111 to 125: the client's. Every request is checked by the server that it goes to, see fake-server.ts. */

import { access } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { cancelUpload, UploadError, type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'
import { ack, type Behaviour, failed, fakeServer, type Packet, received, say } from './fake-server.ts'
import { fastClock, fileAndJob, pauseAt, uploadBy } from './setting.ts'

const KiB = 1024
/** Four fragments. */
const file = noise(20 * KiB)
const pieces = ['Fragment 0-5119', 'Fragment 5120-10239', 'Fragment 10240-15359', 'Fragment 15360-20479']
/** Nobody waits. */
const options: UploadOptions = { maxFragmentSize: 5 * KiB, retryDelay: 1, maxRetryDelay: 1 }
const SessionNotFound = '0x8020001F'

const serve = (behaviour: Partial<Behaviour> = {}) => fakeServer({ file, ...behaviour })

/** Uploads `file` to a server. */
const upload = (server: Awaited<ReturnType<typeof serve>>, more: UploadOptions = {}) =>
  server.watch(uploadFile(file, new URL('a.bin', server.url), { ...options, ...more }))

/** The error that an upload ends with. */
const failure = async (work: Promise<unknown>): Promise<UploadError> => {
  const error = await work.then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(UploadError)
  return error
}

type Answerer = NonNullable<Behaviour['answer']>

/** Gives an answer once, for the first packet that fits. */
const once = (fits: (packet: Packet) => boolean, ...answers: string[]): Answerer => {
  return (packet) => (fits(packet) ? answers.shift() : undefined)
}
const fragmentAt = (offset: number) => (packet: Packet) =>
  packet.type === 'Fragment' && packet.first === offset
const ofType = (type: string) => (packet: Packet) => packet.type === type

describe('Host-Id', () => {
  const created = { 'BITS-Host-Id': 'localhost', 'BITS-Host-Id-Fallback-Timeout': '100' }

  it('111: given Host-Id in the Create Ack, Ping and all later packets go to that host with the same path', async () => {
    const server = await serve({ created })
    const url = new URL('a%20b/c.bin?x=1&y={2}', server.url)
    await server.watch(uploadFile(file, url, options))
    expect(server.said()).toEqual(['Create-Session', 'Ping', ...pieces, 'Close-Session'])
    const [create, ...later] = server.packets
    expect(create?.host).toBe('127.0.0.1')
    for (const { host, target } of later) {
      expect([host, target]).toEqual(['localhost', url.pathname + url.search])
    }
  })

  it('112: given fallback expiry, packets go to the origin host; on 0x8020001F a new session from 0', async () => {
    let lost = false
    const server = await serve({
      answer({ host, type, first }, iis) {
        lost ||= first === 10_240
        if (lost && host === 'localhost') return 'cut'
        // The origin host never heard of the session.
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
    expect(server.said().slice(0, tried)).toEqual([
      'Create-Session',
      'Ping',
      ...pieces.slice(0, 3),
      // One at once, for the connection was not fresh; then every 10 seconds.
      ...Array.from({ length: 10 }, () => 'Ping'),
    ])
    expect(server.said().slice(tried)).toEqual([
      'Ping',
      'Fragment 10240-15359',
      'Create-Session',
      ...pieces,
      'Close-Session',
    ])
  })

  it('112: given no fallback timeout, packets never go to the origin host', async () => {
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

  it('112: given a Fragment that succeeds, the fallback timer starts anew', async () => {
    // The node fails for 60 s, works for one fragment, fails for 60 s again.
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

describe('offsets', () => {
  it('113: given 416 with N, the next fragment starts at N', async () => {
    const server = await serve({
      answer({ first, index }, iis) {
        if (first !== 5120 || index > 2) return undefined
        // As after a backup that was played back.
        iis.held = 2000
        return received(2000, 416)
      },
    })
    await upload(server)
    expect(server.said()).toEqual([
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
  ])('114: given 200 with N %s than expected, the next fragment starts at N', async (_, offset) => {
    const server = await serve({
      answer({ index }, iis) {
        if (index !== 1) return undefined
        iis.held = offset
        return received(offset)
      },
    })
    await upload(server)
    expect(server.said()[2]).toBe(`Fragment ${offset}-${offset + 5119}`)
    expect(server.said().at(-1)).toBe('Close-Session')
  })

  it.each([200, 416])('115: given N = size in a %i, Close without more fragments', async (status) => {
    const server = await serve({ answer: once(fragmentAt(0), received(file.length, status)) })
    await upload(server)
    expect(server.said()).toEqual(['Create-Session', 'Fragment 0-5119', 'Close-Session'])
  })

  it.each([
    ['N > size', received(20_481)],
    ['N no number', received('many')],
    ['a negative N', received(-1)],
    ['N with a sign', received('+5120')],
    ['N twice', ack(200, { 'BITS-Received-Content-Range': 5120, 'bits-received-content-range': 5120 })],
    ['N beyond all numbers', received('9'.repeat(30))],
    ['no N', ack(200)],
    ['no N in a 416', ack(416)],
  ])('124: given %s, an error, no endless loop', async (_, answer) => {
    const server = await serve({ answer: (packet) => (packet.type === 'Fragment' ? answer : undefined) })
    expect((await failure(upload(server))).code).toBe('invalid-answer')
    expect(server.said().filter((text) => text === 'Fragment 0-5119')).toHaveLength(5)
  })

  it('124: given a wrong answer only now and then, the upload goes on', async () => {
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
    expect(server.said().at(-1)).toBe('Close-Session')
  })

  it.each([200, 416])('125: given the same N in %i five times in a row, give up', async (status) => {
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
    // The first time is taken for a correction; then it takes its time.
    expect(clock.waits).toEqual([10, 20])
    const [, ...rest] = server.said()
    expect(rest).toEqual(['Fragment 0-5119', ...Array.from({ length: 4 }, () => 'Fragment 1000-6119')])
  })

  it('125: given N that jumps back and forth for ever, give up', async () => {
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

describe('fragments', () => {
  const large: UploadOptions = { ...options, maxFragmentSize: 40 * KiB }
  const lengths = (packets: readonly Packet[]): number[] =>
    packets.filter(ofType('Fragment')).map(({ body }) => body.length)

  it('116: given 413, smaller fragments', async () => {
    const server = await serve({
      answer: ({ body }) => (body.length > 7000 ? say(413, {}, 'too large') : undefined),
    })
    await upload(server, large)
    expect(lengths(server.packets)).toEqual([20_480, 10_240, 5120, 5120, 5120, 5120])
  })

  it('116: given 413 to the end, none below 5 KB, and an error', async () => {
    const server = await serve({ answer: ({ type }) => (type === 'Fragment' ? say(413) : undefined) })
    const error = await failure(upload(server, large))
    expect([error.code, error.status]).toEqual(['fragment-too-large', 413])
    expect(lengths(server.packets)).toEqual([20_480, 10_240, 5120])
  })
})

describe('0x8020001F', () => {
  it('117: on Fragment, Create-Session', async () => {
    const server = await serve({ answer: once(fragmentAt(10_240), failed(500, SessionNotFound)) })
    const { sessionId } = await upload(server)
    expect(server.said()).toEqual([
      'Create-Session',
      ...pieces.slice(0, 3),
      'Create-Session',
      ...pieces,
      'Close-Session',
    ])
    expect(sessionId).toBe(server.packets.at(-1)?.fields['bits-session-id'])
  })

  it('117: on Close, Create-Session', async () => {
    const server = await serve({ answer: once(ofType('Close-Session'), failed(500, SessionNotFound)) })
    await upload(server)
    const whole = ['Create-Session', ...pieces, 'Close-Session']
    expect(server.said()).toEqual([...whole, ...whole])
  })

  it('117: on a Close that is sent again because its Ack was lost, the upload is done', async () => {
    const server = await serve({
      answer({ type }, iis) {
        if (type !== 'Close-Session' || iis.sessionId === undefined) return undefined
        iis.sessionId = undefined
        return 'cut'
      },
    })
    await upload(server)
    expect(server.said()).toEqual(['Create-Session', ...pieces, 'Close-Session', 'Ping', 'Close-Session'])
  })

  it('117: on a Close that is sent again because the server answered 503, Create-Session', async () => {
    const answers = [ack(503), failed(500, SessionNotFound)]
    const server = await serve({ answer: once(ofType('Close-Session'), ...answers) })
    await upload(server)
    expect(server.said().filter((text) => text === 'Create-Session')).toHaveLength(2)
  })

  it('117: on Cancel, stop', async () => {
    const server = await serve({ answer: once(ofType('Cancel-Session'), failed(500, SessionNotFound)) })
    const { path, job } = await fileAndJob(file)
    await pauseAt(5120, server, path, { ...options, job })
    const sent = server.packets.length
    await server.watch(cancelUpload(job, { retryDelay: 1 }))
    expect(server.said().slice(sent)).toEqual(['Cancel-Session'])
    await expect(access(job)).rejects.toThrow('ENOENT')
  })

  it('117: on every Fragment, give up', async () => {
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

  it('117: on every Close, give up', async () => {
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
  ])('121: given only %s: %s, understood', async (name, value) => {
    const server = await serve({ answer: once(fragmentAt(5120), ack(500, { [name]: value })) })
    await upload(server)
    expect(server.iis.sessions).toBe(2)
  })
})

describe('Close-Session', () => {
  it('118: given 503, sent again', async () => {
    const server = await serve({ answer: once(ofType('Close-Session'), ack(503), say(501)) })
    await upload(server)
    const close = ['Ping', 'Close-Session']
    expect(server.said()).toEqual(['Create-Session', ...pieces, 'Close-Session', ...close, ...close])
  })

  it('118: given 404, not', async () => {
    const server = await serve({ answer: once(ofType('Close-Session'), ack(404)) })
    const error = await failure(upload(server))
    expect([error.code, error.status]).toEqual(['not-found', 404])
    expect(server.said()).toEqual(['Create-Session', ...pieces, 'Close-Session'])
  })
})

describe('Ping', () => {
  it('119: given resume after pause, Ping precedes Fragment', async () => {
    const server = await serve()
    const { path, job } = await fileAndJob(file)
    await pauseAt(10_240, server, path, { ...options, job })
    const sent = server.packets.length
    await server.watch(uploadFile(path, new URL('a.bin', server.url), { ...options, job }))
    expect(server.said().slice(sent)).toEqual(['Ping', ...pieces.slice(2), 'Close-Session'])
  })

  it('119: given resume after a break, too', async () => {
    const server = await serve({ answer: once(fragmentAt(5120), 'cut') })
    await upload(server)
    const [first, ...rest] = pieces
    expect(server.said()).toEqual(['Create-Session', first, rest[0], 'Ping', ...rest, 'Close-Session'])
  })
})

describe('session ids', () => {
  it('120: given Acks without BITS-Session-Id, accepted', async () => {
    const server = await serve()
    await upload(server)
    expect(server.said().at(-1)).toBe('Close-Session')
  })

  it('120: but not a Create Ack without it, nor the id of another session', async () => {
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
    type === 'GET' ? say(206, { 'Content-Range': `bytes 0-8/9` }, reply) : undefined

  it('122: given a relative BITS-Reply-URL with backslashes and braces, fetched from beside the destination', async () => {
    const server = await serve({ completed, answer })
    const { reply: fetched } = await server.watch(
      uploadFile(file, new URL('a/b.bin?c=d', server.url), options),
    )
    expect(fetched?.data?.toString()).toBe(reply)
    const [get] = server.packets.filter(ofType('GET'))
    expect(get?.target).toBe('/upload/a/BITS-Sessions/Replies/%7BC85B4E0A-6EB9%7D/response%20file.bin')
  })

  it('123: given upload-reply, the reply is fetched before Close', async () => {
    const server = await serve({ completed, answer })
    await upload(server)
    expect(server.said()).toEqual(['Create-Session', ...pieces, 'GET', 'Close-Session'])
  })
})
