/**
 * A server farm without a shared store: two nodes, each with its own directory and address, behind nginx in
 * round robin. All use the same port, because a Host-Id has none and clients keep the port of the URL.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx } from '../support/nginx.ts'
import { NewConnectionClient, nodeOf, retryOn502 } from './client.ts'
import { startExampleNginx, startMachine } from './node.ts'

const hosts = ['127.0.0.2', '127.0.0.3'] as const
const file = noise(300_000)
const half = 150_000

async function farm() {
  // nginx first: its port is chosen by a search for a free port of its address, and the nodes then use the
  // same port.
  const { url } = await startExampleNginx((port) => hosts.map((host) => `${host}:${port}`))
  const nodes = await Promise.all(
    hosts.map(async (host) => {
      const directory = await temporaryDirectory()
      const node = await startMachine(host, Number(url.port), directory)
      return { ...node, host, incoming: join(directory, 'incoming') }
    }),
  )
  const client = new NewConnectionClient(new URL('upload/a.bin', url))
  const created = await client.create()
  const owner = nodes.find(({ address }) => address === nodeOf(created))
  const other = nodes.find((node) => node !== owner)
  if (!owner || !other) throw new Error('No node answered Create-Session')
  return { url, client, created, owner, other }
}

/** A client of the same session that uses another host, as after BITS-Host-Id ([MC-BUP] 2.2.3.2). */
function at(host: string, client: NewConnectionClient): NewConnectionClient {
  const same = new NewConnectionClient(new URL(client.url))
  same.url.hostname = host
  same.sessionId = client.sessionId
  return same
}

// Only Linux accepts connections at every address of 127.0.0.0/8 without configuration.
const describeHosts = process.platform === 'linux' ? describeNginx : skipSuite

function skipSuite(name: string, suite: () => void): void {
  console.warn(`NOT RUN because only Linux has ${hosts.join(' and ')}: ${name}`)
  describe.skip(name, suite)
}

describeHosts('Server farm with hostId and a directory per node', () => {
  it('returns BITS-Host-Id and a fallback timeout of 86400 s for Create-Session', async () => {
    const { created, owner } = await farm()
    expect(created.headers).toMatchObject({
      'bits-host-id': owner.host,
      'bits-host-id-fallback-timeout': '86400',
    })
  })

  it('completes an upload sent to the BITS-Host-Id, and stores nothing at the other node', async () => {
    const { client, created, owner, other } = await farm()
    const atOwner = at(String(created.headers['bits-host-id']), client)
    const answers = [
      await atOwner.ping(),
      await atOwner.fragment(0, file.subarray(0, half), file.length),
      await atOwner.fragment(half, file.subarray(half), file.length),
      await atOwner.close(),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect((await readFile(join(owner.incoming, 'a.bin'))).equals(file)).toBe(true)
    await expect(readdir(other.incoming)).rejects.toThrow('ENOENT')
  })

  it('completes an upload by uploadFile at the node that created the session', async () => {
    const { client, owner, other } = await farm()
    const { fragments } = await uploadFile(file, new URL('b.bin', client.url), { maxFragmentSize: 50_000 })
    expect(fragments).toBeGreaterThan(5)
    // nginx takes turns, so that the other node creates the second session.
    expect((await readFile(join(other.incoming, 'b.bin'))).equals(file)).toBe(true)
    expect(await readdir(owner.incoming)).toEqual(['.bits-sessions'])
  })

  it('returns 500 and 0x8020001F after a node is killed, and completes a new session at the other', async () => {
    const { client, owner, other } = await farm()
    const atOwner = at(owner.host, client)
    expect((await atOwner.fragment(0, file.subarray(0, half), file.length)).status).toBe(200)
    await owner.kill()
    await expect(atOwner.ping()).rejects.toThrow('ECONNREFUSED')
    // A client uses the Host-Id until the fallback timeout has passed. Here it returns to nginx at once.
    const lost = await retryOn502(() => client.fragment(half, file.subarray(half), file.length))
    expect([lost.status, hresult(lost), nodeOf(lost)]).toEqual([500, '0x8020001F', other.address])
    const created = await retryOn502(() => client.create())
    expect(created.headers['bits-host-id']).toBe(other.host)
    const atOther = at(other.host, client)
    const whole = await atOther.fragment(0, file, file.length)
    expect([whole.status, received(whole)]).toEqual([200, file.length])
    expect((await atOther.close()).status).toBe(200)
    expect((await readFile(join(other.incoming, 'a.bin'))).equals(file)).toBe(true)
    expect(await readdir(owner.incoming)).toEqual(['.bits-sessions'])
  })

  // Case 72. It also shows that a packet sent to the balancer succeeds only if it reaches the node of its
  // session.
  it('returns 0x8020001F for a Fragment at the wrong node, and 200 at the node of its session', async () => {
    const { client, owner, other } = await farm()
    const wrongNode = await client.fragment(0, file, file.length)
    expect([hresult(wrongNode), nodeOf(wrongNode)]).toEqual(['0x8020001F', other.address])
    const rightNode = await client.fragment(0, file, file.length)
    expect([rightNode.status, nodeOf(rightNode)]).toEqual([200, owner.address])
    expect((await readFile(join(owner.incoming, 'a.bin'))).equals(file)).toBe(true)
  })
})
