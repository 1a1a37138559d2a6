import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { bitsUpload, memoryStore } from '../../../lib/index.ts'
import { noise } from '../../support/bytes.ts'
import { TestClient } from '../../support/client.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { serve } from '../../support/server.ts'
import { E_ACCESSDENIED, E_INVALIDARG, expectAck } from '../acks.ts'
import { partOf, published, sessionFiles } from '../disk.ts'
import { dial } from '../raw-connection.ts'
import { all, session, sessionOn, start } from '../setting.ts'

const Protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'
const guid = /^\{[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}\}$/

/** `count` GUIDs of unknown protocols. */
const unknownGuids = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `{00000000-0000-0000-0000-${String(i).padStart(12, '0')}}`)

/** A server, and a function that sends Create-Session with a list of protocols. */
async function offering() {
  const server = await start()
  return {
    ...server,
    async offer(list: string) {
      return new TestClient(new URL('a.bin', server.url)).create({ 'BITS-Supported-Protocols': list })
    },
  }
}

describe('Create-Session', () => {
  it('24: returns 200, BITS-Protocol, a unique BITS-Session-Id and Accept-Encoding: identity', async () => {
    const { url, directory } = await start()
    const client = new TestClient(new URL('a.bin', url))
    const one = await client.create()
    const other = await client.create()
    for (const answer of [one, other]) {
      expectAck(answer, 200, { received: null })
      expect(answer.headers['bits-protocol']).toBe(Protocol)
      expect(answer.headers['accept-encoding']).toBe('identity')
      expect(answer.headers['bits-session-id']).toMatch(guid)
    }
    const ids = [one, other].map(({ headers }) => String(headers['bits-session-id']))
    expect(new Set(ids).size).toBe(2)
    expect(await sessionFiles(directory)).toEqual(ids.map((id) => `${id}.json`).sort())
    expect(await published(directory)).toEqual([])
  })

  it('25: accepts the known GUID in upper case', async () => {
    const { offer } = await offering()
    const answer = await offer(Protocol.toUpperCase())
    expectAck(answer, 200)
    expect(String(answer.headers['bits-protocol']).toLowerCase()).toBe(Protocol)
  })

  it('26: accepts three GUIDs separated by spaces, the known one last', async () => {
    const { offer } = await offering()
    const answer = await offer([...unknownGuids(2), Protocol].join(' '))
    expectAck(answer, 200)
    expect(answer.headers['bits-protocol']).toBe(Protocol)
  })

  it('27: accepts GUIDs separated by commas, with and without spaces', async () => {
    const { offer } = await offering()
    for (const comma of [',', ', ', ' , ', ' ,']) {
      const answer = await offer([...unknownGuids(2), Protocol].join(comma))
      expectAck(answer, 200)
      expect(answer.headers['bits-protocol']).toBe(Protocol)
    }
  })

  it('28: accepts the known GUID at position 100 and rejects it at position 101', async () => {
    const { offer, directory } = await offering()
    const late = await offer([...unknownGuids(100), Protocol].join(' '))
    expectAck(late, 400, { error: E_INVALIDARG, sessionId: null })
    expect(await sessionFiles(directory)).toEqual([])
    expectAck(await offer([...unknownGuids(99), Protocol].join(' ')), 200)
  })

  it('29: returns 400 0x80070057, context 0x5, no BITS-Protocol for unknown GUIDs only', async () => {
    const { offer, directory } = await offering()
    for (const list of [unknownGuids(1), unknownGuids(3)]) {
      const answer = await offer(list.join(' '))
      expectAck(answer, 400, { error: E_INVALIDARG, sessionId: null, received: null })
      expect(answer.headers['bits-protocol']).toBeUndefined()
      expect(answer.headers['accept-encoding']).toBeUndefined()
    }
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('30: returns 400 0x80070057 without BITS-Supported-Protocols', async () => {
    const { url, offer, directory } = await offering()
    const none = await new TestClient(new URL('a.bin', url)).send('Create-Session')
    for (const answer of [none, await offer(''), await offer(' , ')]) {
      expectAck(answer, 400, { error: E_INVALIDARG, sessionId: null })
      expect(answer.headers['bits-protocol']).toBeUndefined()
    }
    expect(await sessionFiles(directory)).toEqual([])
  })

  it('31: returns 400 for a non-empty body', async () => {
    const { url, directory } = await start()
    const client = new TestClient(new URL('a.bin', url))
    // The second body is larger than the server drains before the answer.
    for (const body of [noise(1), noise(300_000)]) {
      const headers = { 'BITS-Supported-Protocols': Protocol }
      const answer = await client.send('Create-Session', { headers, body })
      expectAck(answer, 400, { error: E_INVALIDARG, sessionId: null })
      expect(answer.headers['bits-protocol']).toBeUndefined()
    }
    expect(await sessionFiles(directory)).toEqual([])
    expectAck(await client.create(), 200)
  })

  it('32: returns 10,000 different ids for 10,000 sessions', async () => {
    const upload = bitsUpload({ store: memoryStore(), maxSessions: 20_000, sweepEvery: 0 })
    const url = await serve((request, response) => upload(request, response, () => response.end()))
    const ids = new Set<string>()
    const connections = Array.from({ length: 4 }, async () => {
      const connection = await dial(url)
      for (let i = 0; i < 2500; i++) {
        const { headers } = await connection.exchange(`BITS_POST /a.bin HTTP/1.1
          Host: files.example
          BITS-Packet-Type: Create-Session
          BITS-Supported-Protocols: ${Protocol}
          Content-Length: 0`)
        ids.add(String(headers['bits-session-id']))
      }
    })
    await Promise.all(connections)
    expect(ids.size).toBe(10_000)
    expect([...ids].filter((id) => !guid.test(id))).toEqual([])
  })

  it('33: returns 400 0x80070057 when the destination is a directory', async () => {
    const { url, directory } = await start()
    await mkdir(join(directory, 'sub'))
    for (const path of ['sub', 'sub/', '.', '/upload']) {
      const answer = await new TestClient(new URL(path, url)).create()
      expectAck(answer, 400, { error: E_INVALIDARG, sessionId: null })
      expect(answer.headers['bits-protocol']).toBeUndefined()
    }
    expect(await sessionFiles(directory)).toEqual([])
    expect(await published(directory)).toEqual(['sub'])
  })

  it('34: returns 403 0x80070005 (never 409) when the file exists and overwrite is off', async () => {
    const { url, directory } = await start()
    await writeFile(join(directory, 'a.bin'), 'old')
    const answer = await new TestClient(new URL('a.bin', url)).create()
    expectAck(answer, 403, { error: E_ACCESSDENIED, sessionId: null })
    expect(answer.headers['bits-protocol']).toBeUndefined()
    expect(await sessionFiles(directory)).toEqual([])
    expect(await readFile(join(directory, 'a.bin'), 'utf8')).toBe('old')
  })

  it('35: returns 200 with overwrite on, and keeps the old file until the upload is complete', async () => {
    const { url, directory } = await start({ overwrite: true })
    const path = join(directory, 'a.bin')
    await writeFile(path, 'old')
    const client = new TestClient(new URL('a.bin', url))
    const file = noise(300)
    expectAck(await client.create(), 200)
    expect(await readFile(path, 'utf8')).toBe('old')
    expectAck(await client.fragment(0, file.subarray(0, 299), 300), 200, { received: 299 })
    expect(await readFile(path, 'utf8')).toBe('old')
    expectAck(await client.fragment(299, file.subarray(299), 300), 200, { received: 300 })
    expect(await readFile(path)).toEqual(file)
    expectAck(await client.close(), 200)
    expect(await published(directory)).toEqual(['a.bin'])
  })

  describe('36: missing parent folder', () => {
    it('36: returns 404 and creates no folder', async () => {
      const { url, directory } = await start()
      for (const path of ['sub/a.bin', 'sub/deeper/a.bin']) {
        const answer = await new TestClient(new URL(path, url)).create()
        expectAck(answer, 404, { sessionId: null })
        expect(answer.headers['bits-protocol']).toBeUndefined()
      }
      expect(await published(directory)).toEqual([])
      expect(await sessionFiles(directory)).toEqual([])
      await mkdir(join(directory, 'sub'))
      expectAck(await new TestClient(new URL('sub/a.bin', url)).create(), 200)
    })

    it('36: returns 404 when the parent is a file, not only after the last fragment', async () => {
      const { url, directory } = await start()
      await writeFile(join(directory, 'sub'), 'a file')
      const answer = await new TestClient(new URL('sub/a.bin', url)).create()
      expectAck(answer, 404, { sessionId: null })
      expect(await sessionFiles(directory)).toEqual([])
    })
  })

  describe('37: Host-Id', () => {
    it('37: sends the configured BITS-Host-Id and fallback timeout, in this Ack only', async () => {
      const { url } = await start({ hostId: { host: 'node3.example', fallbackTimeout: 110 } })
      const client = new TestClient(new URL('a.bin', url))
      const { headers } = await client.create()
      expect(headers['bits-host-id']).toBe('node3.example')
      expect(headers['bits-host-id-fallback-timeout']).toBe('110')
      // Only the Ack for Create-Session has these fields.
      for (const answer of [
        await client.ping(),
        await client.fragment(0, noise(9), 9),
        await client.close(),
      ]) {
        expectAck(answer, 200)
        expect(Object.keys(answer.headers).filter((name) => name.includes('host-id'))).toEqual([])
      }
    })

    it('37: sends a fallback timeout of one day by default, like IIS', async () => {
      const { url } = await start({ hostId: 'node3.example' })
      const { headers } = await new TestClient(new URL('a.bin', url)).create()
      expect(headers['bits-host-id']).toBe('node3.example')
      expect(headers['bits-host-id-fallback-timeout']).toBe('86400')
    })

    it('37: sends neither header without hostId', async () => {
      const { url } = await start()
      const answer = await new TestClient(new URL('a.bin', url)).create()
      expectAck(answer, 200)
      expect(Object.keys(answer.headers).filter((name) => name.includes('host-id'))).toEqual([])
    })
  })

  it('38: ignores Content-Name, also with 300 characters or a backslash', async () => {
    const { url, directory } = await start()
    const file = noise(300)
    for (const [i, name] of ['n'.repeat(300), '..\\..\\evil.bin', 'a<b>:c|d?.bin', ''].entries()) {
      const client = new TestClient(new URL(`${i}.bin`, url), { 'Content-Name': name })
      expectAck(await client.create(), 200)
      expectAck(await client.fragment(0, file, 300), 200, { received: 300 })
      expectAck(await client.close(), 200)
      expect(await readFile(join(directory, `${i}.bin`))).toEqual(file)
    }
    expect(await published(directory)).toEqual(['0.bin', '1.bin', '2.bin', '3.bin'])
  })

  describe('39: path traversal', () => {
    it('39: returns 400, 403 or 404 for dot segments and encoded separators', async () => {
      const outside = await temporaryDirectory()
      const directory = join(outside, 'root')
      await mkdir(join(directory, 'sub'), { recursive: true })
      const { url, upload } = await start({ directory })
      const created = all(upload, 'created')
      const connection = await dial(url)
      for (const path of [
        '/upload/../x.bin',
        '/upload/sub/../../x.bin',
        '/upload/sub/../x.bin',
        '/upload/./x.bin',
        '/upload/%2e%2e/x.bin',
        '/upload/%2E%2e/x.bin',
        '/upload/.%2e/x.bin',
        '/upload/%2e%2e%2fx.bin',
        '/upload/sub%2fx.bin',
        '/upload/..%5cx.bin',
        '/upload/%5cx.bin',
        '/upload/sub\\x.bin',
        '/upload/..\\x.bin',
        '/upload/sub%5c..%5c..%5cx.bin',
        '/upload/%252e%252e%252fx.bin/..',
        '/upload//x.bin',
        '/upload/sub//x.bin',
        '/upload//etc/x.bin',
        '/upload/x.bin%00.txt',
        '/upload/%c0%ae%c0%ae/x.bin',
        '/upload/%2e%2e',
        '/upload/C:/x.bin',
        '/upload/x.bin:stream',
        'http://files.example/upload/../x.bin',
        'http://files.example/upload/%2e%2e/x.bin',
      ]) {
        const answer = await connection.exchange(`BITS_POST ${path} HTTP/1.1
          Host: files.example
          BITS-Packet-Type: Create-Session
          BITS-Supported-Protocols: ${Protocol}
          Content-Length: 0`)
        expect([path, answer.status]).toEqual([path, expect.toBeOneOf([400, 403, 404])])
        expect(answer.headers['bits-session-id']).toBeUndefined()
        expect(answer.body).toHaveLength(0)
      }
      expect(created).toEqual([])
      expect(await sessionFiles(directory)).toEqual([])
      const names = (await published(outside)).filter((name) => !name.startsWith('root/.bits-sessions'))
      expect(names).toEqual(['root', 'root/sub'])
    })

    it('39: rejects links out of the store and the session directory as destinations', async () => {
      const outside = await temporaryDirectory()
      const server = await session()
      const { url, directory } = server
      await symlink(outside, join(directory, 'link'))
      const before = await sessionFiles(directory)
      for (const path of ['link/x.bin', '.bits-sessions/x.bin', '.bits-sessions', '.bits-sessions/']) {
        const answer = await new TestClient(new URL(path, url)).create()
        expect([path, answer.status]).toEqual([path, expect.toBeOneOf([400, 403, 404])])
        expect(answer.headers['bits-session-id']).toBeUndefined()
      }
      expect(await sessionFiles(directory)).toEqual(before)
      expect(await published(outside)).toEqual([])
    })

    it('39: rejects the session directory as the destination of the first session', async () => {
      const { url, directory } = await start()
      const answer = await new TestClient(new URL('.bits-sessions', url)).create()
      expect(answer.status).toBeOneOf([400, 403, 404])
      expect(await sessionFiles(directory)).toEqual([])
    })
  })

  it('40: creates two independent sessions for one URL', async () => {
    const server = await start()
    const { directory } = server
    const [one, other] = [await sessionOn(server), await sessionOn(server)]
    expect(one.sessionId).not.toBe(other.sessionId)
    const [a, b] = [noise(300, 1), noise(200, 2)]
    expectAck(await one.fragment(0, a.subarray(0, 100), 300), 200, { received: 100 })
    expectAck(await other.fragment(0, b.subarray(0, 50), 200), 200, { received: 50 })
    expect(await readFile(partOf(directory, one.sessionId))).toEqual(a.subarray(0, 100))
    expect(await readFile(partOf(directory, other.sessionId))).toEqual(b.subarray(0, 50))
    expectAck(await one.cancel(), 200)
    expectAck(await other.fragment(50, b.subarray(50), 200), 200, { received: 200 })
    expect(await readFile(join(directory, 'a.bin'))).toEqual(b)
  })
})
