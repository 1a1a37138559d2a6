/**
 * A farm without a common store: two nodes, each with a directory and an address of its own, and nginx, which gives packets
 * to them in turn. All have the same port: a Host-Id has none, and clients keep that of the URL.
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

// Only Linux answers at all of 127.0.0.0/8 without being told to.
const describeHosts = process.platform === 'linux' ? describeNginx : describeNowhere

function describeNowhere(name: string, suite: () => void): void {
  console.warn(`NOT RUN, for only on Linux there is ${hosts.join(' and ')}: ${name}`)
  describe.skip(name, suite)
}

describeHosts('two nodes with a directory each', () => {
  it('run the line that the README prints', async () => {
    const [printed = ''] = blocks(section('Farms'), 'ts')
    const line = printed.split('\n').find((text) => text.startsWith('app.use('))
    const program = await readFile(new URL('node-program.mjs', import.meta.url), 'utf8')
    expect(program.split('\n').map((text) => text.trim())).toContain(line)
  })

  it('the Ack for Create-Session names the node, and how long to try there', async () => {
    const { created, owner } = await farm()
    expect(created.headers).toMatchObject({
      'bits-host-id': owner.name,
      'bits-host-id-fallback-timeout': '86400',
    })
  })

  it('a client that goes there completes', async () => {
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

  it('our own client goes there by itself', async () => {
    const { client, owner, other } = await farm()
    const { fragments } = await uploadFile(file, new URL('b.bin', client.url), { maxFragmentSize: 50_000 })
    expect(fragments).toBeGreaterThan(5)
    // In turn, so the second session is the other node's.
    expect((await readFile(join(other.incoming, 'b.bin'))).equals(file)).toBe(true)
    expect(await readdir(owner.incoming)).toEqual(['.bits-sessions'])
  })

  it('the node dies: back at the balancer the client begins anew, and the file arrives whole', async () => {
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

  // Case 72, and with it that such luck is needed.
  it('packets that go to the balancer all the same are taken where they reach their node', async () => {
    const { client, owner, other } = await farm()
    const astray = await client.fragment(0, file, file.length)
    expect([hresult(astray), nodeOf(astray)]).toEqual(['0x8020001F', other.name])
    const lucky = await client.fragment(0, file, file.length)
    expect([lucky.status, nodeOf(lucky)]).toEqual([200, owner.name])
    expect((await readFile(join(owner.incoming, 'a.bin'))).equals(file)).toBe(true)
  })
})
