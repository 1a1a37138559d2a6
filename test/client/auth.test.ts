import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Authenticator } from '../../lib/client/auth.ts'
import { type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { bitsUpload } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve } from '../support/server.ts'
import { fakeServer, rawResponse } from './fake-server.ts'

const require = createRequire(import.meta.url)
const file = noise(10_000)
const me = { user: 'me', password: 'open sesame' }
const options: UploadOptions = { maxFragmentSize: '5kb', retryDelay: 1, maxRetryDelay: 1 }
const basic = `Basic ${Buffer.from('me:open sesame').toString('base64')}`

/** A server that answers 401 unless `accepts` returns true for the value of `Authorization`. */
const protectedBy = (challenge: string, accepts: (authorization: string) => boolean) =>
  fakeServer({
    file,
    created: { 'BITS-Host-Id': 'localhost' },
    answer: ({ fields }) =>
      accepts(fields.authorization ?? '')
        ? undefined
        : rawResponse(401, { 'WWW-Authenticate': challenge }, 'no'),
  })

describe('Basic authentication', () => {
  it('sends credentials only after a challenge, then with every packet to that host', async () => {
    const server = await protectedBy('Basic realm="x"', (authorization) => authorization === basic)
    await server.watch(uploadFile(file, new URL('a.bin', server.url), { ...options, auth: me }))
    expect(
      server.packets.map(({ host, type, fields }) => `${host} ${type} ${fields.authorization ? '+' : '-'}`),
    ).toEqual([
      '127.0.0.1 Create-Session -',
      '127.0.0.1 Create-Session +',
      // Another host gets no credentials before its own challenge.
      'localhost Ping -',
      'localhost Ping +',
      'localhost Fragment +',
      'localhost Fragment +',
      'localhost Close-Session +',
    ])
  })

  it('rejects with unauthorized, without another try, when the credentials are refused', async () => {
    const server = await protectedBy('Basic realm="x"', () => false)
    const upload = uploadFile(file, server.url, { ...options, auth: me })
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'unauthorized', status: 401 })
    expect(server.packets).toHaveLength(2)
  })

  it('rejects with unauthorized at the first 401 without credentials or a supported scheme', async () => {
    for (const [challenge, more] of [
      ['Basic realm="x"', {}],
      ['Negotiate, NTLM', { auth: me }],
      ['Digest realm="x", nonce="y", algorithm=SHA-512-256', { auth: me }],
      ['Digest realm="x", nonce="y", qop="auth-int"', { auth: me }],
    ] as const) {
      const server = await protectedBy(challenge, () => false)
      const upload = uploadFile(file, server.url, { ...options, ...more })
      await expect(server.watch(upload)).rejects.toMatchObject({ code: 'unauthorized' })
      expect(server.packets).toHaveLength(1)
    }
  })

  it('sends the whole fragment again after a challenge', async () => {
    const server = await fakeServer({
      file,
      answer: ({ type, fields }) =>
        type === 'Fragment' && !fields.authorization
          ? rawResponse(401, { 'WWW-Authenticate': 'Basic realm=x' })
          : undefined,
    })
    await server.watch(uploadFile(file, new URL('a.bin', server.url), { ...options, auth: me }))
    expect(server.requests()).toEqual([
      'Create-Session',
      'Fragment 0-5119',
      'Fragment 0-5119',
      'Fragment 5120-9999',
      'Close-Session',
    ])
  })

  it('sends no credentials to a proxy that answers 407', async () => {
    const server = await fakeServer({
      file,
      answer: () => rawResponse(407, { 'Proxy-Authenticate': 'Basic realm="x"' }),
    })
    const upload = uploadFile(file, server.url, { ...options, auth: me })
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'proxy-unauthorized', status: 407 })
    expect(server.packets).toHaveLength(1)
  })
})

describe('Digest authentication', () => {
  /** The value of `response` by RFC 7616, from the other parameters of the request. */
  function expected(authorization: string, target: string, algorithm: 'md5' | 'sha256'): string {
    const value = (name: string): string => {
      const [, quoted, plain] = new RegExp(` ${name}=(?:"([^"]*)"|([^",]*))`).exec(authorization) ?? []
      return quoted ?? plain ?? ''
    }
    const hash = (text: string) => createHash(algorithm).update(text).digest('hex')
    const ofUser = hash(`me:${value('realm')}:open sesame`)
    const ofSession = /-sess/.test(value('algorithm'))
      ? hash(`${ofUser}:${value('nonce')}:${value('cnonce')}`)
      : ofUser
    const ofRequest = hash(`BITS_POST:${target}`)
    return hash(
      value('qop')
        ? `${ofSession}:${value('nonce')}:${value('nc')}:${value('cnonce')}:auth:${ofRequest}`
        : `${ofSession}:${value('nonce')}:${ofRequest}`,
    )
  }

  it.each([
    ['Digest realm="x", nonce="n1"', 'md5'],
    ['Digest realm="x", nonce="n1", qop="auth-int, auth", opaque="o"', 'md5'],
    ['digest nonce="n1",realm="a, b",algorithm=MD5-sess,qop=auth', 'md5'],
    ['Digest realm="x", nonce="n1", qop="auth", algorithm=SHA-256', 'sha256'],
    [
      'Basic realm="x", Digest realm="x", nonce="n1", qop="auth", Digest realm="x", nonce="n1", algorithm=sha-256-sess, qop="auth"',
      'sha256',
    ],
    ['Negotiate, NTLM, Digest realm="x", nonce="n1", qop="auth"', 'md5'],
  ] as const)('answers the challenge %s', async (challenge, algorithm) => {
    const counts: string[] = []
    const clients = new Set<string | undefined>()
    const server = await fakeServer({
      file,
      answer({ fields, target }) {
        const { authorization = '' } = fields
        if (!authorization.startsWith('Digest ')) return rawResponse(401, { 'WWW-Authenticate': challenge })
        expect(authorization).toContain(`uri="${target}"`)
        const response = /response="([^"]*)"/.exec(authorization)?.[1]
        expect(response).toBe(expected(authorization, target, algorithm))
        counts.push(/nc=(\w+)/.exec(authorization)?.[1] ?? '')
        clients.add(/cnonce="(\w+)"/.exec(authorization)?.[1])
        return undefined
      },
    })
    await server.watch(uploadFile(file, new URL('a b.bin?c=d', server.url), { ...options, auth: me }))
    if (challenge.includes('qop')) expect(counts).toEqual(['00000001', '00000002', '00000003', '00000004'])
    expect(clients.size).toBe(1)
  })

  it('replaces a stale nonce and sends the packet again', async () => {
    let nonce = 1
    const server = await fakeServer({
      file,
      answer({ fields, type }) {
        if (fields.authorization?.includes(`nonce="${nonce}"`) && type !== 'Close-Session') {
          nonce += 1
          return undefined
        }
        if (fields.authorization?.includes(`nonce="${nonce}"`)) return undefined
        return rawResponse(401, {
          'WWW-Authenticate': `Digest realm="x", nonce="${nonce}", qop="auth", stale=TRUE`,
        })
      },
    })
    await server.watch(uploadFile(file, new URL('a.bin', server.url), { ...options, auth: me }))
    expect(server.requests()).toEqual([
      'Create-Session',
      'Create-Session',
      'Fragment 0-5119',
      'Fragment 0-5119',
      'Fragment 5120-9999',
      'Fragment 5120-9999',
      'Close-Session',
      'Close-Session',
    ])
  })

  it('rejects with unauthorized when the server answers stale=true twice', async () => {
    const challenge = 'Digest realm="x", nonce="y", stale=true'
    const server = await fakeServer({
      file,
      answer: () => rawResponse(401, { 'WWW-Authenticate': challenge }),
    })
    const upload = uploadFile(file, server.url, { ...options, auth: me })
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'unauthorized' })
    expect(server.packets).toHaveLength(2)
  })

  it('uploads to a server of the http-auth package, and is refused with a wrong password', async () => {
    const directory = await temporaryDirectory()
    const passwords = join(directory, 'passwords')
    const hash = createHash('md5').update('me:here:open sesame').digest('hex')
    await writeFile(passwords, `me:here:${hash}\n`)
    const gate = require('http-auth').digest({ realm: 'here', file: passwords })
    const receiver = bitsUpload({ store: directory })
    const url = await serve(
      gate.check((request: IncomingMessage, response: ServerResponse) =>
        receiver(request, response, () => response.end()),
      ),
    )
    await uploadFile(file, new URL('a.bin?b=c', url), { ...options, auth: me })
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    const wrong = uploadFile(file, new URL('b.bin', url), { ...options, auth: { ...me, password: 'x' } })
    await expect(wrong).rejects.toMatchObject({ code: 'unauthorized', status: 401 })
  })

  it('escapes quoted values and sends the user name as UTF-8', () => {
    const authenticator = new Authenticator({ user: 'a"\\ü', password: 'x' })
    authenticator.challenged('Digest realm="say \\"x\\"", nonce="n"', false)
    const value = authenticator.authorization('GET', '/')
    expect(value).toContain('username="a\\"\\\\Ã¼", realm="say \\"x\\""')
  })
})
