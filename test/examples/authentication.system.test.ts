import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { UploadProtocol } from '../../lib/protocol/headers.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received, TestClient } from '../support/client.ts'
import { type DigestAccount, DigestSigner } from '../support/digest.ts'
import { sessionFileNames } from '../support/directory.ts'
import type { Program } from '../support/program.ts'
import {
  AccountClient,
  alice,
  basic,
  basicScheme,
  bob,
  digestScheme,
  expectChallenge,
  type Scheme,
} from './accounts.ts'
import { start, startIn } from './start.ts'
import { uploadFile } from './upload.ts'

const file = noise(30_000)

/** The largest fragment that Windows sends, in bytes. */
const MaxFragmentBytes = 13 * 1024 * 1024

const clientOf = async (example: Program, path = 'a.bin'): Promise<AccountClient> =>
  new AccountClient(new URL(path, await example.url()))

/** Starts an example, and a client that has answered its challenge. */
async function signedIn(scheme: Scheme, account: DigestAccount = alice) {
  const { example, directory } = await start(scheme.example)
  const client = await clientOf(example)
  await client.signIn(scheme, account)
  return { example, directory, client }
}

describe.each([basicScheme, digestScheme])('$example example', (scheme) => {
  it('challenges a Ping, and accepts the whole upload on the same connection', async () => {
    const { directory, client } = await signedIn(scheme)
    expect((await client.ping()).status).toBe(200)
    await uploadFile(client, file)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
    expect(client.agent.connections).toBe(1)
  })

  it('challenges wrong credentials again, and stores nothing', async () => {
    const { example, directory } = await start(scheme.example)
    const wrongAccounts = [
      { user: 'alice', password: '' },
      { user: 'alice', password: 'knock knock' },
      { user: 'carol', password: 'open sesame' },
      { user: 'carol', password: '' },
      { user: '', password: '' },
    ]
    for (const account of wrongAccounts) {
      const client = await clientOf(example)
      await client.signIn(scheme, account)
      for (const packet of [() => client.ping(), () => client.create(), () => client.close()]) {
        expectChallenge(await packet(), scheme.challenge)
      }
    }
    expect(existsSync(join(directory, 'incoming'))).toBe(false)
  })

  it('returns 0x8020001F for a session of another user', async () => {
    const { example, client } = await signedIn(scheme)
    await client.create()
    const other = await clientOf(example)
    await other.signIn(scheme, bob)
    other.sessionId = client.sessionId
    expect(hresult(await other.fragment(0, file, file.length))).toBe('0x8020001F')
    expect(hresult(await other.cancel())).toBe('0x8020001F')
    expect(received(await client.fragment(0, file, file.length))).toBe(file.length)
  })

  it('challenges a fragment of 13 MB, and never reads its body as packets', async () => {
    const { directory, client } = await signedIn(scheme)
    await client.create()
    const before = await sessionFileNames(join(directory, 'incoming/.bits-sessions'))
    const { credentials } = client
    client.credentials = undefined
    const packet = [
      'BITS_POST /upload/evil.bin HTTP/1.1',
      'Host: files.example',
      `Authorization: ${basic('alice:open sesame')}`,
      'BITS-Packet-Type: Create-Session',
      `BITS-Supported-Protocols: ${UploadProtocol}`,
      'Content-Length: 0',
    ]
    const body = Buffer.alloc(MaxFragmentBytes, `${packet.join('\r\n')}\r\n\r\n`)
    expectChallenge(await client.fragment(0, body, MaxFragmentBytes), scheme.challenge)

    client.credentials = credentials
    expect((await client.ping()).status).toBe(200)
    expect(await sessionFileNames(join(directory, 'incoming/.bits-sessions'))).toEqual(before)
    expect(received(await client.fragment(0, body, MaxFragmentBytes))).toBe(MaxFragmentBytes)
    expect(body.equals(await readFile(join(directory, 'incoming/a.bin')))).toBe(true)
    expect(client.agent.connections).toBe(1)
  })
})

it('basic.ts: challenges Authorization values that are not valid Basic credentials', async () => {
  const { example } = await start('authentication/basic')
  for (const authorization of ['Bearer x', 'Basic', 'Basic ', 'Basic !', basic('alice'), basic(':')]) {
    const client = await clientOf(example)
    client.credentials = () => authorization
    expectChallenge(await client.create(), basicScheme.challenge)
  }
})

describe('digest.ts', () => {
  const stale = /^Digest .*, stale=true$/

  it('accepts an upload by curl --digest', async () => {
    const { example, directory } = await start('authentication/digest')
    const url = new URL('a.bin', await example.url()).href
    const curl = async (...args: string[]): Promise<string> => {
      const common = ['-si', '--digest', '-u', 'alice:open sesame', '-X', 'BITS_POST', url]
      return (await promisify(execFile)('curl', [...common, ...args])).stdout
    }
    const fields = (...lines: string[]): string[] => lines.flatMap((line) => ['-H', line])
    const created = await curl(
      ...fields('BITS-Packet-Type: Create-Session', `BITS-Supported-Protocols: ${UploadProtocol}`),
      ...fields('Content-Length: 0'),
    )
    expect(created.match(/^HTTP.*(?=\r)/gm)).toEqual(['HTTP/1.1 401 Unauthorized', 'HTTP/1.1 200 OK'])
    const session = /^BITS-Session-Id: .*(?=\r)/m.exec(created)?.[0] ?? ''
    await curl(
      ...fields('BITS-Packet-Type: Fragment', session, 'Content-Range: bytes 0-4/5'),
      ...['--data-binary', 'hello'],
    )
    expect(await readFile(join(directory, 'incoming/a.bin'), 'utf8')).toBe('hello')
  })

  it('accepts each signature once, and a new one in the same session', async () => {
    const { client } = await signedIn(digestScheme)
    await client.create()
    const once = client.credentials?.() ?? ''
    client.credentials = () => once
    expect(received(await client.fragment(0, file.subarray(0, 100), file.length))).toBe(100)
    const challenge = expectChallenge(await client.fragment(100, file.subarray(100), file.length), stale)
    client.credentials = digestScheme.answer(challenge, alice, client.url)
    expect(received(await client.fragment(100, file.subarray(100), file.length))).toBe(file.length)
  })

  it('challenges again with stale=true after a restart, and continues the session', async () => {
    const { example, directory, client } = await signedIn(digestScheme)
    await client.create()
    await client.fragment(0, file.subarray(0, 100), file.length)
    await example.end('SIGKILL')

    const restarted = await clientOf(startIn(directory, 'authentication/digest'))
    restarted.sessionId = client.sessionId
    restarted.credentials = client.credentials
    const challenge = expectChallenge(await restarted.ping(), stale)
    restarted.credentials = digestScheme.answer(challenge, alice, restarted.url)
    expect(received(await restarted.fragment(100, file.subarray(100), file.length))).toBe(file.length)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
  })

  it('challenges again after a signature for another method', async () => {
    const { example } = await start('authentication/digest')
    for (const method of ['POST', 'GET', 'BIND', 'bits_post']) {
      const client = await clientOf(example)
      const signer = new DigestSigner(expectChallenge(await client.ping(), digestScheme.challenge), alice)
      client.credentials = () => signer.sign(method, client.url.pathname)
      expectChallenge(await client.create(), digestScheme.challenge)
    }
  })

  it('challenges again after a request signed as BITS_POST and sent as POST', async () => {
    const { client } = await signedIn(digestScheme)
    const headers = { 'X-HTTP-Method-Override': 'BITS_POST' }
    expectChallenge(await client.send('Ping', { method: 'POST', headers }), digestScheme.challenge)
  })

  it('returns 400 (0x80070057) for a signature of another path', async () => {
    const { example, directory } = await start('authentication/digest')
    for (const path of ['/upload/b.bin', '/a.bin', '/upload/a.bin?', '']) {
      const client = await clientOf(example)
      const signer = new DigestSigner(expectChallenge(await client.ping(), digestScheme.challenge), alice)
      client.credentials = () => signer.sign('BITS_POST', path)
      const answer = await client.create()
      expect([answer.status, hresult(answer)]).toEqual([400, '0x80070057'])
    }
    expect(existsSync(join(directory, 'incoming'))).toBe(false)
  })

  it('returns 400 if Authorization has two uri values and the signed one is another path', async () => {
    const { example } = await start('authentication/digest')
    const client = await clientOf(example)
    const signer = new DigestSigner(expectChallenge(await client.ping(), digestScheme.challenge), alice)
    const { pathname } = client.url
    client.credentials = () =>
      signer.sign('BITS_POST', '/upload/b.bin').replace('Digest ', `Digest uri="${pathname}", `)
    expect((await client.create()).status).toBe(400)
  })

  it('challenges again after an unknown user with the secret "undefined"', async () => {
    const { example } = await start('authentication/digest')
    const client = await clientOf(example)
    const challenge = expectChallenge(await client.ping(), digestScheme.challenge)
    const signer = new DigestSigner(challenge, { user: 'carol', password: '' }, 'undefined')
    client.credentials = () => signer.sign('BITS_POST', client.url.pathname)
    expectChallenge(await client.create(), digestScheme.challenge)
  })

  it('challenges again after a signature for another realm', async () => {
    const { client } = await signedIn(digestScheme, { ...alice, realm: 'downloads' })
    expectChallenge(await client.create(), digestScheme.challenge)
  })
})

describe('proxy-user.ts', () => {
  /** Starts the example, and returns a function that creates clients with a name in X-Remote-User. */
  async function startBehindProxy() {
    const { example, directory } = await start('authentication/proxy-user')
    const url = new URL('a.bin', await example.url())
    const clientOf = (user?: string) =>
      new TestClient(url, user === undefined ? {} : { 'X-Remote-User': user })
    return { directory, url, clientOf }
  }

  it('takes the owner of a session from X-Remote-User', async () => {
    const { directory, clientOf } = await startBehindProxy()
    const client = clientOf('alice')
    await client.create()
    const other = clientOf('bob')
    other.sessionId = client.sessionId
    expect(hresult(await other.fragment(0, file, file.length))).toBe('0x8020001F')
    expect(hresult(await other.cancel())).toBe('0x8020001F')
    expect(received(await client.fragment(0, file, file.length))).toBe(file.length)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
  })

  it('rejects packets without X-Remote-User, or with an empty one', async () => {
    const { directory, clientOf } = await startBehindProxy()
    for (const user of [undefined, '']) {
      const client = clientOf(user)
      for (const answer of [await client.ping(), await client.create()]) {
        expect([answer.status, hresult(answer)]).toEqual([403, '0x80070005'])
      }
    }
    expect(existsSync(join(directory, 'incoming'))).toBe(false)
  })

  it('accepts connections to 127.0.0.1 only', async () => {
    const { url, clientOf } = await startBehindProxy()
    expect((await clientOf('alice').ping()).status).toBe(200)
    // Another loopback address, which a server on all addresses also accepts.
    url.hostname = '127.0.0.2'
    await expect(clientOf('alice').ping()).rejects.toThrow()
  })
})
