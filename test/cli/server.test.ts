import { mkdir, writeFile } from 'node:fs/promises'
import type { IncomingMessage, Server } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { beforeAll, describe, expect, it } from 'vitest'
import { basicAuthentication } from '../../lib/cli/basic.ts'
import { readConnection } from '../../lib/cli/connection.ts'
import { listenerOf, serverOf } from '../../lib/cli/server.ts'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { listen } from '../support/server.ts'

/** Starts the server of `serve`, over memory. */
async function startServe(path = '/upload') {
  const store = memoryStore()
  const upload = bitsUpload({ store })
  const { server } = await serverOf({ selfSigned: false }, listenerOf(path, upload))
  return { url: await listen(server), store }
}

/** Sends bytes, and resolves to the first line of the answer and its header fields. */
function exchange({ port }: URL, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(text))
    socket.setEncoding('latin1')
    let answer = ''
    socket.on('error', reject).on('data', (piece: string) => {
      answer += piece
      if (!answer.includes('\r\n\r\n')) return
      socket.destroy()
      resolve(answer.slice(0, answer.indexOf('\r\n\r\n')))
    })
  })
}

const ping = (target: string, ...fields: string[]): string =>
  [`BITS_POST ${target} HTTP/1.1`, 'Host: x', 'BITS-Packet-Type: Ping', ...fields, '', ''].join('\r\n')

describe('Server of serve', () => {
  it('keeps idle connections longer than load balancers, and has no time limit for a request', async () => {
    const made = await generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec' })
    const directory = await temporaryDirectory()
    const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
    await writeFile(cert, made.cert)
    await writeFile(key, made.private)
    for (const options of [{ selfSigned: false }, { selfSigned: true }, { cert, key, selfSigned: false }]) {
      const { server } = await serverOf(options, () => {})
      expect(server.keepAliveTimeout).toBe(125_000)
      expect(server.headersTimeout).toBeGreaterThan(server.keepAliveTimeout)
      expect(server.requestTimeout).toBe(0)
      expect((server as Server & { maxHeaderSize?: number }).maxHeaderSize).toBe(64 * 1024)
    }
    const { url } = await startServe()
    expect(await exchange(url, ping('/upload/a.bin'))).toMatch(/^Keep-Alive: timeout=125$/im)
  })

  it('accepts 64 KB of header fields, for example a Kerberos token of 48 KB', async () => {
    const { url } = await startServe()
    const token = `Authorization: Negotiate ${'x'.repeat(48 * 1024)}`
    expect(await exchange(url, ping('/upload/a.bin', token))).toMatch(/^HTTP\/1\.1 200 /)
    const tooLong = `Authorization: Negotiate ${'x'.repeat(70 * 1024)}`
    expect(await exchange(url, ping('/upload/a.bin', tooLong))).toMatch(/^HTTP\/1\.1 431 /)
  })

  it.each(['/upload', '/'])('accepts request targets in absolute form below %s', async (path) => {
    const { url, store } = await startServe(path)
    const target = `http://files.example:8080${path === '/' ? '' : path}/a.bin`
    const create = ['BITS-Supported-Protocols: {7df0354d-249b-430f-820d-3d2a9bef4931}', 'Content-Length: 0']
    const created = await exchange(url, ping(target, ...create).replace('Ping', 'Create-Session'))
    expect(created).toMatch(/^HTTP\/1\.1 200 /)
    const client = new TestClient(new URL(path === '/' ? '/a.bin' : `${path}/a.bin`, url))
    client.sessionId = /^BITS-Session-Id: (.*)$/im.exec(created)?.[1] ?? ''
    expect((await client.fragment(0, Buffer.from('hello'), 5)).status).toBe(200)
    expect(String(store.files.get('a.bin'))).toBe('hello')
  })

  it.each(['http://x/uploads/a', 'http://x', 'ftp://x/upload/a', '/http://x/upload/a'])(
    'answers 404 to the target %s outside the mount path',
    async (target) => {
      const { url } = await startServe()
      expect(await exchange(url, ping(target))).toMatch(/^HTTP\/1\.1 404 /)
    },
  )
})

describe('PEM files of options', () => {
  let pems: Record<'cert' | 'key' | 'other', string>
  beforeAll(async () => {
    const [own, other] = await Promise.all(
      ['own', 'other'].map((value) => generate([{ name: 'commonName', value }], { keyType: 'ec' })),
    )
    pems = { cert: own?.cert ?? '', key: own?.private ?? '', other: other?.private ?? '' }
  })

  async function files() {
    const directory = await temporaryDirectory()
    const encrypted = '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n'
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    const all = { ...pems, text: 'hello', encrypted, broken, empty: '' }
    for (const [name, text] of Object.entries(all)) await writeFile(join(directory, name), text)
    await mkdir(join(directory, 'folder'))
    return (name: string) => join(directory, name)
  }

  it.each([
    ['none', 'key', /^--cert: cannot read \S+none: the file does not exist \(ENOENT\)$/],
    ['folder', 'key', /^--cert: cannot read \S+folder: it is a directory \(EISDIR\)$/],
    ['text', 'key', /^--cert: \S+text is not a certificate in PEM form/],
    ['empty', 'key', /^--cert: \S+empty is not a certificate/],
    ['broken', 'key', /^--cert: \S+broken is not a certificate/],
    ['key', 'cert', /^--cert: \S+key is not a certificate/],
    ['cert', 'text', /^--key: \S+text is not a private key in PEM form/],
    ['cert', 'encrypted', /^--key: \S+encrypted is encrypted; decrypt it: openssl pkey/],
    ['cert', 'other', /^--key: \S+other is not the key of the certificate \S+cert/],
  ])('cause an error that names the file: --cert %s --key %s', async (cert, key, message) => {
    const path = await files()
    const options = { cert: path(cert), key: path(key), selfSigned: false }
    await expect(serverOf(options, () => {})).rejects.toThrow(message)
    expect(() => readConnection({ cert: path(cert), key: path(key) })).toThrow(message)
  })

  it.each(['text', 'empty', 'broken', 'key'])(
    'cause an error that names the file: --cacert %s',
    async (name) => {
      const cacert = (await files())(name)
      expect(() => readConnection({ cacert })).toThrow(`--cacert: ${cacert} is not a certificate in PEM form`)
    },
  )

  it('are accepted with several certificates', async () => {
    const path = await files()
    await writeFile(path('chain'), `A comment\n${pems.cert}\n${pems.cert}`)
    expect(readConnection({ cacert: path('chain') }).tls).toMatchObject({ ca: expect.any(Buffer) })
  })
})

describe('Basic authentication', () => {
  const authorize = basicAuthentication(['zoë:grün', 'bob:knock'])
  const request = (credentials: string, encoding: 'utf8' | 'latin1') =>
    ({
      headers: { authorization: `Basic ${Buffer.from(credentials, encoding).toString('base64')}` },
    }) as IncomingMessage

  it.each(['utf8', 'latin1'] as const)('accepts credentials in %s', (encoding) => {
    expect(authorize(request('zoë:grün', encoding))).toBe('zoë')
    expect(authorize(request('bob:knock', encoding))).toBe('bob')
    for (const wrong of ['zoë:grun', 'zoe:grün', 'zoë:', ':', 'carol:knock'])
      expect(() => authorize(request(wrong, encoding))).toThrow(
        expect.objectContaining({ code: 'unauthorized' }),
      )
  })
})
