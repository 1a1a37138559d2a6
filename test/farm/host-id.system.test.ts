/**
 * A server farm without a shared store: two nodes, each with its own directory and address, behind nginx in round robin.
 * All use the same port, because a Host-Id has none and clients keep the port of the URL.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { blocks, section } from '../package/readme.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx, startNginx } from '../support/nginx.ts'
import { HoppingClient, nodeOf, persist } from './client.ts'
import { loneNode } from './node.ts'
import { recipe, serverAt } from './recipe.ts'

const hosts = ['127.0.0.2', '127.0.0.3'] as const
const file = noise(300_000)
const half = 150_000

async function farm() {
  // First, for only at its address others look for ports.
  const { url } = await startNginx((port) => {
    const servers = hosts.map((host) => `server ${host}:${port};`).join(' ')
    return `upstream uploads { ${servers} } ${serverAt(port, recipe('http://uploads'))}`
  })
  const nodes = await Promise.all(
    hosts.map(async (host) => {
      const directory = await temporaryDirectory()
      const node = await loneNode(host, Number(url.port), directory)
      return { ...node, incoming: join(directory, 'incoming') }
    }),
  )
  const client = new HoppingClient(new URL('upload/a.bin', url))
  const created = await client.create()
  const owner = nodes.find(({ name }) => name === nodeOf(created))
  const other = nodes.find((node) => node !== owner)
  if (!owner || !other) throw new Error('No node answered Create-Session')
  return { url, client, created, owner, other }
}

/** The same client, by way of a host that replaces that of its destination ([MC-BUP] 2.2.3.2). */
function at(host: string, client: HoppingClient): HoppingClient {
  const same = new HoppingClient(new URL(client.url))
  same.url.hostname = host
  same.sessionId = client.sessionId
  return same
}

// Only Linux accepts connections at every address of 127.0.0.0/8 without configuration.
const describeHosts = process.platform === 'linux' ? describeNginx : describeNowhere

function describeNowhere(name: string, suite: () => void): void {
  console.warn(`NOT RUN because only Linux has ${hosts.join(' and ')}: ${name}`)
  describe.skip(name, suite)
}

describeHosts('Server farm with hostId and a directory per node', () => {
  it('uses the bitsUpload() line of the README', async () => {
    const [printed = ''] = blocks(section('Farms'), 'ts')
    const line = printed.split('\n').find((text) => text.startsWith('app.use('))
    const program = await readFile(new URL('node-program.mjs', import.meta.url), 'utf8')
    expect(program.split('\n').map((text) => text.trim())).toContain(line)
  })

  it('returns BITS-Host-Id and a fallback timeout of 86400 s for Create-Session', async () => {
    const { created, owner } = await farm()
    expect(created.headers).toMatchObject({
      'bits-host-id': owner.name,
      'bits-host-id-fallback-timeout': '86400',
    })
  })

  it('completes an upload sent to the BITS-Host-Id, and stores nothing at the other node', async () => {
    const { client, created, owner, other } = await farm()
    const there = at(String(created.headers['bits-host-id']), client)
    const answers = [
      await there.ping(),
      await there.fragment(0, file.subarray(0, half), file.length),
      await there.fragment(half, file.subarray(half), file.length),
      await there.close(),
    ]
    for (const answer of answers) expect([answer.status, nodeOf(answer)]).toEqual([200, owner.name])
    expect((await readFile(join(owner.incoming, 'a.bin'))).equals(file)).toBe(true)
    await expect(readdir(other.incoming)).rejects.toThrow('ENOENT')
  })

  it('completes an upload by uploadFile at the node that created the session', async () => {
    const { client, owner, other } = await farm()
    const { fragments } = await uploadFile(file, new URL('b.bin', client.url), { maxFragmentSize: 50_000 })
    expect(fragments).toBeGreaterThan(5)
    // In turn, so the second session is the other node's.
    expect((await readFile(join(other.incoming, 'b.bin'))).equals(file)).toBe(true)
    expect(await readdir(owner.incoming)).toEqual(['.bits-sessions'])
  })

  it('returns 500 and 0x8020001F after a node is killed, and completes a new session at the other', async () => {
    const { client, owner, other } = await farm()
    const there = at(owner.name, client)
    expect((await there.fragment(0, file.subarray(0, half), file.length)).status).toBe(200)
    await owner.kill()
    await expect(there.ping()).rejects.toThrow('ECONNREFUSED')
    // How long it goes on trying there is the client's to measure; here the time is over at once.
    const lost = await persist(() => client.fragment(half, file.subarray(half), file.length))
    expect([lost.status, hresult(lost), nodeOf(lost)]).toEqual([500, '0x8020001F', other.name])
    const anew = await persist(() => client.create())
    expect(anew.headers['bits-host-id']).toBe(other.name)
    const elsewhere = at(other.name, client)
    const whole = await elsewhere.fragment(0, file, file.length)
    expect([whole.status, received(whole)]).toEqual([200, file.length])
    expect((await elsewhere.close()).status).toBe(200)
    expect((await readFile(join(other.incoming, 'a.bin'))).equals(file)).toBe(true)
    expect(await readdir(owner.incoming)).toEqual(['.bits-sessions'])
  })

  // Case 72. It also shows that a packet sent to the balancer succeeds only if it reaches the node of its session.
  it('returns 0x8020001F for a Fragment at the wrong node, and 200 at the node of its session', async () => {
    const { client, owner, other } = await farm()
    const astray = await client.fragment(0, file, file.length)
    expect([hresult(astray), nodeOf(astray)]).toEqual(['0x8020001F', other.name])
    const lucky = await client.fragment(0, file, file.length)
    expect([lucky.status, nodeOf(lucky)]).toEqual([200, owner.name])
    expect((await readFile(join(owner.incoming, 'a.bin'))).equals(file)).toBe(true)
  })
})
