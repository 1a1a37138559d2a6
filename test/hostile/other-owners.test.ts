/** Session ids of other owners: a client that uses one gets no information and cannot change the session. */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setImmediate as tick } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, TestClient } from '../support/client.ts'
import { uploadServer } from '../support/server.ts'
import { MeteredDisk, sessionFiles } from '../wire/disk.ts'
import { start } from '../wire/setting.ts'
import { exchange, latin1 } from './raw.ts'

/** The owner is the value of the request field User. */
const authorize = ({ headers }: IncomingMessage): string | undefined => headers.user?.toString()

const packets = {
  Fragment: ['Content-Range: bytes 4-7/8', 'Content-Length: 4', '', 'evil'],
  'Fragment, first': ['Content-Range: bytes 0-3/8', 'Content-Length: 4', '', 'evil'],
  'Fragment, different total': ['Content-Range: bytes 4-7/9', 'Content-Length: 4', '', 'evil'],
  'Fragment, after a gap': ['Content-Range: bytes 6-7/8', 'Content-Length: 2', '', 'xx'],
  'Fragment, too large': ['Content-Range: bytes 0-3/99999999999999', 'Content-Length: 4', '', 'evil'],
  'Fragment, chunked': [
    'Content-Range: bytes 4-7/8',
    'Transfer-Encoding: chunked',
    '',
    '4\r\nevil\r\n0\r\n\r\n',
  ],
  'Fragment, invalid range': ['Content-Range: bytes 4-9/8', 'Content-Length: 6', '', 'xxxxxx'],
  'Close-Session': ['Content-Length: 0', '', ''],
  'Close-Session, with a body': ['Content-Length: 2', '', 'xx'],
  'Cancel-Session': ['Content-Length: 0', '', ''],
  Ping: ['Content-Length: 0', '', ''],
}

const otherClients = {
  'another user': { user: 'mallory', path: '/upload/a.bin' },
  'a client without a user': { user: '', path: '/upload/a.bin' },
  'the owner at another path': { user: 'alice', path: '/upload/b.bin' },
  'the owner, path in upper case': { user: 'alice', path: '/upload/A.bin' },
  'another user at another path': { user: 'mallory', path: '/upload/b.bin' },
}

const states = ['fresh', 'half', 'published'] as const
const cases = Object.entries(packets).flatMap(([name, lines]) =>
  Object.entries(otherClients).flatMap(([who, { user, path }]) =>
    states.map((state) => ({ name, lines, who, user, path, state })),
  ),
)

describe('Session of another owner', () => {
  it.each(cases)(
    'is answered like an unknown session: $name by $who, session $state',
    async ({ name, lines, user, path, state }) => {
      const { url, directory } = await uploadServer({ authorize, maxSize: '1mb' })
      const owner = new TestClient(new URL('a.bin', url), { user: 'alice' })
      await owner.create()
      const held = { fresh: 0, half: 4, published: 8 }[state]
      if (held > 0) await owner.fragment(0, Buffer.from('verygood').subarray(0, held), 8)

      const request = (id: string): string =>
        [
          `BITS_POST ${path} HTTP/1.1`,
          'Host: x',
          ...(user === '' ? [] : [`User: ${user}`]),
          `BITS-Packet-Type: ${name.split(',')[0]}`,
          `BITS-Session-Id: ${id}`,
          ...lines,
        ].join('\r\n')
      const lastRequest = 'GET /bye HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
      /** Resolves to all bytes that the server sends until the connection ends, without the field Date. */
      const answersFor = async (id: string): Promise<string> => {
        const bytes = await exchange(Number(url.port), [[latin1(request(id))], [latin1(lastRequest)]])
        return bytes.toString('latin1').replace(/^Date: .*\r\n/gm, '')
      }

      const ids = [owner.sessionId, owner.sessionId.toLowerCase()]
      const known = await Promise.all(ids.map(answersFor))
      // The session has not changed: the owner continues at its offset.
      const rest = Buffer.from('verygood').subarray(held)
      if (held < 8) expect((await owner.fragment(held, rest, 8)).status).toBe(200)
      expect(await readFile(join(directory, 'a.bin'), 'utf8')).toBe('verygood')
      expect((await owner.close()).status).toBe(200)
      // The same ids, after the session has ended.
      expect(await Promise.all(ids.map(answersFor))).toEqual(known)
      expect(await sessionFiles(directory)).toEqual([])
    },
  )
})

describe('Fragment in progress', () => {
  it.each(['Fragment', 'Close-Session', 'Cancel-Session'])(
    'is not interrupted by a %s from another user',
    async (type) => {
      const file = noise(300_000)
      const disk = new MeteredDisk()
      const { url } = await start({ authorize, fileSystem: disk.fileSystem })
      const owner = new TestClient(new URL('a.bin', url), { user: 'alice' })
      await owner.create()
      const outgoing = begin(owner.url, 'Fragment', { headers: owner.range(0, file.length, file.length) })
      const answer = answerTo(outgoing)
      outgoing.write(file.subarray(0, 100_000))
      await once(outgoing, 'socket')
      await disk.holds(100_000)

      const otherClient = new TestClient(owner.url, { user: 'mallory' })
      otherClient.sessionId = owner.sessionId
      const refused =
        type === 'Fragment'
          ? otherClient.fragment(0, Buffer.from('evil'), 4)
          : otherClient.send(type, { headers: { 'BITS-Session-Id': owner.sessionId } })
      await tick()
      expect((await refused).status).toBe(500)
      outgoing.end(file.subarray(100_000))
      expect((await answer).status).toBe(200)
    },
  )
})
