/**
 * examples/many-nodes/README.md states how many requests to an object service each packet causes. These tests count the
 * requests where they are sent, and compare the counts with that page.
 */
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { BitsUploadOptions } from '../../lib/index.ts'
import { readPage, rows } from '../package/page.ts'
import { noise } from '../support/bytes.ts'
import { TestClient } from '../support/client.ts'
import { allEngines, type Engine } from '../support/places.ts'
import { uploadServer } from '../support/server.ts'
import { type Counts, count, kinds, requestsTo } from './requests.ts'

const { section } = readPage('examples/many-nodes/README.md')

/** The rows of the table by their first cell. */
const table = new Map(rows(section('Requests for each packet')).map(([what = '', ...cells]) => [what, cells]))

/** The rows that a test has compared. */
const compared = new Set<string>()

/** The counts in a row of the table, where a cell can be `2n + 7 (Azure 2n + 6)`, for a given `n`. */
function documented(row: string, engine: Engine, n = 0): Counts {
  const cells = table.get(row)
  if (!cells) throw new Error(`The page has no number of requests for: ${row}`)
  compared.add(row)
  const figures = kinds.map((kind, i) => {
    const [, s3 = '', azure = s3] = /^([^(]*)(?:\(Azure (.*)\))?$/.exec(cells[i] ?? '') ?? []
    const sum = engine.name === 'S3' ? s3 : azure
    const terms = sum.split(/(?=[+-])/).map((term) => {
      const [, sign, factor, variable] = /^([+-]?)\s*(\d*)(n?)\s*$/.exec(term) ?? []
      if (!factor && !variable) throw new Error(`The page has an invalid number of requests: ${cells[i]}`)
      return Number(`${sign}${factor || 1}`) * (variable ? n : 1)
    })
    return [kind, terms.reduce((a, b) => a + b)]
  })
  return Object.fromEntries(figures) as Counts
}

/** The S3 service of the tests. */
const isCeph = ({ name }: Engine): boolean => name === 'S3'

const sumOf = (some: Counts, others: Counts): Counts =>
  Object.fromEntries(kinds.map((kind) => [kind, some[kind] + others[kind]])) as Counts

/** The same for a row with the publication of a file. */
function documentedWithClaim(row: string, engine: Engine, n = 0): Counts {
  const counts = documented(row, engine, n)
  if (!isCeph(engine)) return counts
  const isSmall = row.includes('small')
  const file = isSmall ? 'publish a small file' : 'complete a multipart upload'
  const claim = documented(`in addition, on Ceph 16, to ${file}`, engine)
  // With `overwrite` this read is needed anyway.
  return sumOf(counts, row.includes('`overwrite`') ? { ...claim, reads: 0 } : claim)
}

/**
 * Starts two nodes that do not sweep by themselves, and records their requests after those that they send only once.
 */
async function startNodes(engine: Engine, options: Partial<BitsUploadOptions> = {}) {
  const place = await engine.open()
  const start = async () => {
    const node = await uploadServer({ store: place.store(), sweepEvery: 0, ...options })
    const first = new TestClient(new URL('first', node.url))
    await first.create()
    await first.cancel()
    return node
  }
  const [one, another] = [await start(), await start()]
  const sent = requestsTo(place.env.BUCKET ?? '')
  /** @returns the requests that packets cause */
  const requestsOf = async (packets: () => Promise<unknown>): Promise<Counts> => {
    const before = sent.length
    await packets()
    return count(sent.slice(before))
  }
  return { place, url: one.url, other: another.url, upload: one.upload, sent, requestsOf }
}

const MiB = 2 ** 20
const fragmentSize = 5 * MiB

/** Sends a file of `n` fragments of 5 MiB. */
async function sendFragments(client: TestClient, file: Buffer): Promise<void> {
  for (let first = 0; first < file.length; first += fragmentSize) {
    const bytes = file.subarray(first, first + fragmentSize)
    expect((await client.fragment(first, bytes, file.length)).status).toBe(200)
  }
}

async function sendAll(client: TestClient, send: () => Promise<unknown>): Promise<void> {
  await client.ping()
  expect((await client.create()).status).toBe(200)
  await send()
  expect((await client.close()).status).toBe(200)
}

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('number of requests', () => {
    it('equals the table for each packet of a small upload', async () => {
      const { url, requestsOf } = await startNodes(engine)
      const client = new TestClient(new URL('a.txt', url))
      const [file, third] = [noise(3000), 1000]
      expect(await requestsOf(() => client.create())).toEqual(documented('Create-Session', engine))
      expect(await requestsOf(() => client.ping())).toEqual(documented('Ping', engine))
      for (const first of [0, third]) {
        const fragment = () => client.fragment(first, file.subarray(first, first + third), file.length)
        expect(await requestsOf(fragment)).toEqual(
          documented('Fragment, smaller than the smallest part, not the last', engine),
        )
      }
      const last = () => client.fragment(2 * third, file.subarray(2 * third), file.length)
      expect(await requestsOf(last)).toEqual(
        documentedWithClaim('Fragment, the n-th and last one of a small file, n > 1', engine, 3),
      )
      expect(await requestsOf(() => client.close())).toEqual(
        documented('Close-Session of a published upload', engine),
      )
    })

    it('equals the table for each packet of a large upload', async () => {
      const { url, requestsOf } = await startNodes(engine)
      const client = new TestClient(new URL('a.txt', url))
      const file = noise(3 * fragmentSize)
      await client.create()
      const send = (i: number) => () =>
        client.fragment(
          i * fragmentSize,
          file.subarray(i * fragmentSize, (i + 1) * fragmentSize),
          file.length,
        )
      expect(await requestsOf(send(0))).toEqual(documented('Fragment, the first one of several', engine))
      expect(await requestsOf(send(1))).toEqual(documented('Fragment, a further one', engine))
      expect(await requestsOf(send(2))).toEqual(
        documentedWithClaim('Fragment, the last one of several', engine),
      )
    })

    it.each<[string, Partial<BitsUploadOptions>]>([
      ['a small upload in one fragment', {}],
      ['a small upload with `overwrite`', { overwrite: true }],
      ['a small upload with `onUpload`', { onUpload: () => {} }],
    ])('equals the table for %s', async (row, options) => {
      const { url, requestsOf } = await startNodes(engine, options)
      const client = new TestClient(new URL('a.txt', url))
      const file = noise(MiB)
      const send = () => sendAll(client, () => client.fragment(0, file, file.length))
      expect(await requestsOf(send)).toEqual(documentedWithClaim(row, engine))
    })

    it.each([
      ['an upload of n fragments', {}],
      ['an upload of n fragments with `overwrite`', { overwrite: true }],
      ['an upload of n fragments with `onUpload`', { onUpload: () => {} }],
    ])('equals the table for %s of 5 MiB', async (row, options) => {
      const { url, requestsOf } = await startNodes(engine, options)
      const client = new TestClient(new URL('a.txt', url))
      const file = noise(4 * fragmentSize)
      const send = () => sendAll(client, () => sendFragments(client, file))
      expect(await requestsOf(send)).toEqual(documentedWithClaim(row, engine, 4))
    })

    it.each([2, 4])('equals the table for a single fragment of %d parts', async (parts) => {
      const { url, requestsOf } = await startNodes(engine)
      const client = new TestClient(new URL('a.txt', url))
      await client.create()
      const file = noise(parts * 8 * MiB)
      const whole = () => client.fragment(0, file, file.length)
      expect(await requestsOf(whole)).toEqual(
        documentedWithClaim('Fragment that is a whole file of n parts, up to 16', engine, parts),
      )
    })

    it('equals the table for a cancelled upload', async () => {
      const { url, requestsOf } = await startNodes(engine)
      const client = new TestClient(new URL('a.txt', url))
      await client.create()
      await client.fragment(0, noise(fragmentSize), 2 * fragmentSize)
      expect(await requestsOf(() => client.cancel())).toEqual(
        documented('Cancel-Session, or Close-Session of an incomplete upload', engine),
      )
    })

    it('has one read more for each packet that another node receives', async () => {
      const { url, other, requestsOf } = await startNodes(engine)
      const row = 'in addition, for a Fragment or Close-Session at a node that has not cached the session'
      const [{ reads, ...others }, small] = [documented(row, engine), noise(10)]
      expect([reads, others]).toEqual([1, { writes: 0, lists: 0, removals: 0 }])
      const client = new TestClient(new URL('a.txt', url))
      await client.create()
      const otherClient = new TestClient(new URL('a.txt', other))
      otherClient.sessionId = client.sessionId
      const { writes } = documentedWithClaim(
        'Fragment, the n-th and last one of a small file, n > 1',
        engine,
        1,
      )
      expect(await requestsOf(() => otherClient.fragment(0, small, small.length))).toMatchObject({
        writes,
        reads,
      })
      expect(await requestsOf(() => client.close())).toMatchObject({ writes: 0, reads })
    })

    it('equals the table for a sweep that finds 21 sessions', async () => {
      const { url, upload, requestsOf } = await startNodes(engine)
      const clients = Array.from({ length: 21 }, (_, i) => new TestClient(new URL(`${i}.txt`, url)))
      await Promise.all(clients.map((client) => client.create()))
      const sweep = async () => expect(await upload.sweep()).toEqual({ expired: 0, open: 21 })
      const counts = documented('a sweep that finds n sessions', engine, 21)
      const claims = documented('in addition, on Ceph 16, for a sweep', engine)
      expect(await requestsOf(sweep)).toEqual(isCeph(engine) ? sumOf(counts, claims) : counts)
    })

    it('equals the table for nodes without packets for a day, with an open session', async () => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
      onTestFinished(() => void vi.useRealTimers())
      const { url, requestsOf } = await startNodes(engine)
      const client = new TestClient(new URL('a.txt', url))
      await client.create()
      expect((await client.fragment(0, noise(10), 20)).status).toBe(200)
      const day = () => vi.advanceTimersByTimeAsync(86_400_000)
      expect(await requestsOf(day)).toEqual(documented('a node without packets', engine))
    })

    it('is tested for every row of the table', () => {
      const rest = [...table.keys()].filter((row) => !compared.has(row))
      expect(rest.filter((row) => isCeph(engine) || !row.includes('Ceph'))).toEqual([])
    })
  })
})
