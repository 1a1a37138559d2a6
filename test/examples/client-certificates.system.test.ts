import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Agent } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { generate } from 'selfsigned'
import { describe, expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { hresult, received, TestClient } from '../support/client.ts'
import { environment } from '../support/program.ts'
import { start } from './start.ts'
import { uploadFile } from './upload.ts'

const file = noise(30_000)

/** A client that trusts an authority. `pem` is its own key and certificate, if it has one. */
class CertificateClient extends TestClient {
  override readonly agent: Agent

  constructor(url: URL, authority: string, pem?: string) {
    super(url)
    const own = pem === undefined ? {} : { key: pem, cert: pem }
    this.agent = new Agent({ keepAlive: true, maxSockets: 1, ca: authority, ...own })
  }
}

/** Starts the example, and returns functions that create clients for it. */
async function startWithCertificates() {
  const { example, directory } = await start('authentication/client-certificates')
  const url = new URL('a.bin', await example.url())
  const read = (name: string) => readFile(join(directory, `certificates/${name}.pem`), 'utf8')
  const authority = await read('authority')
  return {
    example,
    directory,
    clientWith: (pem?: string) => new CertificateClient(url, authority, pem),
    clientNamed: async (name: string) => new CertificateClient(url, authority, await read(name)),
  }
}

/** A certificate with the subject of Alice, and its key. It is signed by `ca`, or by itself. */
async function forged(ca?: { key: string; cert: string }): Promise<string> {
  const kind = { keyType: 'ec', algorithm: 'sha256' } as const
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'alice' }], {
    ...kind,
    ...(ca && { ca }),
  })
  return key + cert
}

describe('client-certificates.ts', () => {
  it('accepts an upload from a client with a certificate of the authority', async () => {
    const { directory, clientNamed } = await startWithCertificates()
    const alice = await clientNamed('alice')
    expect((await alice.ping()).status).toBe(200)
    await uploadFile(alice, file)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
  })

  it('returns 0x8020001F for a session of another certificate subject', async () => {
    const { clientNamed } = await startWithCertificates()
    const alice = await clientNamed('alice')
    await alice.create()
    const bob = await clientNamed('bob')
    bob.sessionId = alice.sessionId
    expect(hresult(await bob.fragment(0, file, file.length))).toBe('0x8020001F')
    expect(hresult(await bob.close())).toBe('0x8020001F')
    expect(received(await alice.fragment(0, file, file.length))).toBe(file.length)
  })

  it('recognizes the subject on a resumed TLS session, which sends no certificate', async () => {
    const { clientNamed } = await startWithCertificates()
    const alice = await clientNamed('alice')
    const { agent } = alice
    const free = once(agent, 'free')
    await alice.create()
    const [first] = (await free) as [TLSSocket]
    first.destroy()

    const freeAgain = once(agent, 'free')
    expect(received(await alice.fragment(0, file, file.length))).toBe(file.length)
    const [second] = (await freeAgain) as [TLSSocket]
    expect(second.isSessionReused()).toBe(true)
  })

  it('fails the handshake without a certificate, or with one of another issuer', async () => {
    const { directory, clientWith } = await startWithCertificates()
    const name = [{ name: 'commonName', value: 'Authority of the example' }]
    const impostor = await generate(name, {
      algorithm: 'sha256',
      keyType: 'ec',
      extensions: [{ name: 'basicConstraints', cA: true, critical: true }],
    })
    const pems = [undefined, await forged(), await forged({ key: impostor.private, cert: impostor.cert })]
    for (const pem of pems) {
      const client = clientWith(pem)
      // The code depends on whether the client reads the TLS alert or the end of the connection first.
      await expect(client.create()).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED|ECONNRESET|EPIPE)$/),
      })
    }
    expect(existsSync(join(directory, 'incoming'))).toBe(false)
  })

  it('prints a curl command that works, and fails without --cert', async () => {
    const { example, directory } = await startWithCertificates()
    const [, command] = await example.says(/A Ping by curl:\n((?: {2}.*\\\n)* {2}.*a\.bin)/)
    const run = (script: string) =>
      promisify(execFile)('sh', ['-euc', script], { cwd: directory, env: environment() })
    const script = String(command).replace('//localhost:', '//127.0.0.1:')
    expect((await run(script)).stdout).toMatch(/^HTTP\/1.1 200 OK\r$/m)
    await expect(run(script.replace(/--cert \S+/, ''))).rejects.toThrow()
  })
})
