/**
 * examples/many-nodes/README.md states how many requests to an object service each packet causes. These tests count the
 * requests where they are sent, and compare the counts with that page.
 */
import { describe, expect, it, vi } from 'vitest'
import { defaultTiming } from '../../lib/stores/object/lock/heartbeat.ts'
import { readPage, rows } from '../package/page.ts'
import { noise } from '../support/bytes.ts'
import { begin, TestClient } from '../support/client.ts'
import { allEngines, type Engine } from '../support/places.ts'
import { uploadServer } from '../support/server.ts'
import { type Counts, count, isLockRequest, kinds, requestsTo, type SentRequest } from './requests.ts'

const { section } = readPage('examples/many-nodes/README.md')

/** The rows of the table by their first cell. */
const table = new Map(rows(section('Requests for each packet')).map(([what = '', ...cells]) => [what, cells]))

/** The counts in a row of the table, where a cell can be `2n + 7 (Azure 2n + 6)`, for a given `n`. */
function documented(row: string, engine: Engine, n = 0): Counts {
  const cells = table.get(row)
  if (!cells) throw new Error(`The page has no number of requests for: ${row}`)
  const figures = kinds.map((kind, i) => {
    const [, s3 = '', azure = s3] = /^([^(]*)(?:\(Azure (.*)\))?$/.exec(cells[i] ?? '') ?? []
    const sum = engine.name === 'S3' ? s3 : azure
    const terms = sum.split('+').map((term) => {
      const [, factor, variable] = /^\s*([\d.]*)(n?)\s*$/.exec(term) ?? []
      if (!factor && !variable) throw new Error(`The page has an invalid number of requests: ${cells[i]}`)
      return Number(factor || 1) * (variable ? n : 1)
    })
    return [kind, terms.reduce((a, b) => a + b)]
  })
  return Object.fromEntries(figures) as Counts
}

/**
 * Starts a node that does not sweep by itself, and records its requests after those that it sends only once.
 */
async function startNode(engine: Engine) {
  const place = await engine.open()
  const { url, upload } = await uploadServer({ store: place.store(), sweepEvery: 0 })
  const first = new TestClient(new URL('first', url))
  await first.create()
  const sent = requestsTo(place.env.BUCKET ?? '')
  /** @returns the requests that a packet causes, without those for locks */
  const requestsOf = async (packet: () => Promise<unknown>): Promise<Counts> => {
    const before = sent.length
    await packet()
    return count(sent.slice(before).filter((one) => !isLockRequest(one)))
  }
  return { url, upload, sent, requestsOf, first }
}

const isHeartbeat = ({ kind, folder }: SentRequest): boolean => kind === 'writes' && folder === 'nodes'
const isEnd = ({ kind, folder }: SentRequest): boolean => kind === 'removals' && folder === 'nodes'

const MiB = 2 ** 20

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('number of requests', () => {
    it('equals the table for each packet of an upload of one part', async () => {
      const { url, requestsOf } = await startNode(engine)
      const client = new TestClient(new URL('a.txt', url))
      const [file, half] = [noise(2000), 1000]
      expect(await requestsOf(() => client.create())).toEqual(documented('Create-Session', engine))
      expect(await requestsOf(() => client.ping())).toEqual(documented('Ping', engine))
      const beginning = file.subarray(0, half)
      expect(await requestsOf(() => client.fragment(0, beginning, file.length))).toEqual(
        documented('Fragment', engine),
      )
      const last = () => client.fragment(half, file.subarray(half), file.length)
      const second = documented('the last Fragment, the n-th of a file of one part', engine, 2)
      expect(await requestsOf(last)).toEqual(second)
      expect(await requestsOf(() => client.close())).toEqual(documented('Close-Session', engine))
    })

    it('equals the table for an upload of 1 MiB in one fragment', async () => {
      const { url, requestsOf } = await startNode(engine)
      const client = new TestClient(new URL('a.txt', url))
      const upload = async (): Promise<void> => {
        await client.ping()
        await client.create()
        expect((await client.fragment(0, noise(MiB), MiB)).status).toBe(200)
        await client.close()
      }
      expect(await requestsOf(upload)).toEqual(
        documented('all of an upload of 1 MiB in one Fragment', engine),
      )
    })

    it.each([2, 4])('equals the table for a single fragment of %d parts', async (parts) => {
      const { url, requestsOf } = await startNode(engine)
      const client = new TestClient(new URL('a.txt', url))
      await client.create()
      const file = noise(parts * 8 * MiB)
      const whole = () => client.fragment(0, file, file.length)
      expect(await requestsOf(whole)).toEqual(
        documented('one Fragment that is a file of n parts', engine, parts),
      )
    })

    it('equals the table for a sweep that finds 21 sessions', async () => {
      const { url, upload, sent } = await startNode(engine)
      const others = Array.from({ length: 20 }, (_, i) => new TestClient(new URL(`${i}.txt`, url)))
      await Promise.all(others.map((client) => client.create()))
      const before = sent.length
      expect(await upload.sweep()).toEqual({ expired: 0, open: 21 })
      expect(count(sent.slice(before))).toEqual(documented('a sweep that finds n sessions', engine, 21))
    })

    it('equals the table for an idle node, and does not exceed it for a busy node', async () => {
      const idle = await startNode(engine)
      await idle.first.close()
      await vi.waitFor(() => expect(idle.sent.some(isEnd)).toBe(true), 10_000)
      await vi.waitFor(() => expect(idle.sent.at(-1)).toMatchObject({ kind: 'lists', folder: 'wants' }))
      const end = idle.sent.length

      const { url, sent } = await startNode(engine)
      const client = new TestClient(new URL('a.txt', url))
      await client.create()
      const fragment = begin(client.url, 'Fragment', { headers: client.range(0, 10, 10) })
      fragment.on('error', () => {})
      fragment.write('12345')
      const beats = (): number => sent.filter(isHeartbeat).length
      await vi.waitFor(() => expect(beats()).toBe(1), { interval: 10 })
      const [since, before] = [performance.now(), sent.length]
      await vi.waitFor(() => expect(beats()).toBe(4), { interval: 10, timeout: 20_000 })
      const seconds = (performance.now() - since) / 1000
      const { writes, lists } = count(sent.slice(before).filter(isLockRequest))
      fragment.destroy()

      const row = documented('a node at work, each second', engine)
      expect(row).toEqual({
        writes: 1000 / defaultTiming.heartbeatInterval,
        reads: 0,
        lists: 1000 / defaultTiming.releasePollInterval,
        removals: 0,
      })
      // Timers may be late, but never early.
      expect(writes).toBeLessThanOrEqual(row.writes * seconds + 1)
      expect(lists).toBeLessThanOrEqual(row.lists * seconds + 1)
      expect(lists).toBeGreaterThan(writes)

      expect(count(idle.sent.slice(end))).toEqual(documented('a node without work', engine))
    })
  })
})
