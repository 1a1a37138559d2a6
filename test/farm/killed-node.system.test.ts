/** A node over an object service is killed, and another one continues its uploads. */
import { describe, expect, it, vi } from 'vitest'
import type { BitsUploadOptions } from '../../lib/index.ts'
import { startWith } from '../examples/start.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, received, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { allEngines, type Engine, type Place } from '../support/places.ts'
import type { Program } from '../support/program.ts'
import { uploadServer } from '../support/server.ts'
import { startHookNode } from './hook-node.ts'
import { expectNothingLeft } from './leftovers.ts'
import { requestsTo } from './requests.ts'

const MiB = 2 ** 20
/** In two fragments. The node writes a part of each before it is complete. */
const file = noise(30 * MiB)
const half = file.length / 2

/** A node in a process, which is killed, and one in this process, whose requests are recorded. */
async function startNodes(
  engine: Engine,
  start: (env: NodeJS.ProcessEnv, directory: string) => Program,
  options: Partial<BitsUploadOptions> = {},
) {
  const place = await engine.open()
  const node = start({ ...place.env, PORT: '0' }, await temporaryDirectory())
  const { url } = await uploadServer({ store: place.store(), sweepEvery: 0, ...options })
  const prepared = new TestClient(new URL('first', url))
  await prepared.create()
  await prepared.cancel()
  const client = new TestClient(new URL('a.bin', await node.url()))
  expect((await client.create()).status).toBe(200)
  /** The same client at the node that survives. */
  const failOver = (): TestClient => {
    const other = new TestClient(new URL('a.bin', url))
    other.sessionId = client.sessionId
    return other
  }
  return { place, node, client, failOver, sent: requestsTo(place.env.BUCKET ?? '') }
}

/** Sends a fragment without its last byte. */
function sendAlmost(client: TestClient, first: number, body: Buffer) {
  const outgoing = begin(client.url, 'Fragment', { headers: client.range(first, body.length, file.length) })
  answerTo(outgoing).catch(() => {})
  outgoing.write(body.subarray(0, -1))
  return outgoing
}

const expectPublished = async (place: Place, expected: Buffer): Promise<void> =>
  expect((await place.see('a.bin'))?.bytes.equals(expected)).toBe(true)

const isRead = ({ kind }: { readonly kind: string }): boolean => kind === 'reads'

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('after a node was killed', () => {
    const startExample = (env: NodeJS.ProcessEnv, directory: string) =>
      startWith(env, directory, 'many-nodes/node')

    it('continues at another node without a wait, at the byte of the last Ack', async () => {
      const { place, node, client, failOver, sent } = await startNodes(engine, startExample)
      expect((await client.fragment(0, file.subarray(0, half), file.length)).status).toBe(200)
      const outgoing = sendAlmost(client, half, file.subarray(half))
      await new Promise<void>((resolve) => outgoing.write('', () => resolve()))
      await node.end('SIGKILL')
      outgoing.destroy()
      const other = failOver()
      expect((await other.ping()).status).toBe(200)
      const last = await other.fragment(half, file.subarray(half), file.length)
      expect([last.status, received(last)]).toEqual([200, file.length])
      // The record, and on Ceph the name: a node that waits reads the record again and again.
      expect(sent.filter(isRead).length).toBeLessThanOrEqual(2)
      await expectPublished(place, file)
      expect((await other.close()).status).toBe(200)
      expect([...(await place.keys()), ...(await place.unfinished())]).toEqual(['a.bin'])
    })

    it('continues at another node without a wait if the first fragment had no Ack', async () => {
      const { place, node, client, failOver, sent } = await startNodes(engine, startExample)
      const outgoing = sendAlmost(client, 0, file.subarray(0, half))
      // The multipart upload of the node: no record has its id.
      await vi.waitFor(async () => expect(await place.unfinished()).toEqual(['a.bin']), 10_000)
      await node.end('SIGKILL')
      outgoing.destroy()
      const other = failOver()
      for (const first of [0, half]) {
        const answer = await other.fragment(first, file.subarray(first, first + half), file.length)
        expect(answer.status).toBe(200)
      }
      expect(sent.filter(isRead).length).toBeLessThanOrEqual(2)
      await expectPublished(place, file)
      expect((await other.close()).status).toBe(200)
      await expectNothingLeft(place)
      expect(await place.keys()).toEqual(['a.bin'])
    })

    it('runs onUpload at another node ten seconds after the node was killed in it', {
      timeout: 60_000,
    }, async () => {
      const onUpload = vi.fn()
      const { place, node, client, failOver, sent } = await startNodes(
        engine,
        (...args) => startHookNode('hang', ...args),
        { onUpload, lockTimeout: 30_000 },
      )
      expect((await client.fragment(0, file.subarray(0, half), file.length)).status).toBe(200)
      const answer = client.fragment(half, file.subarray(half), file.length).catch(() => {})
      await node.says(/onUpload\(a\.bin\)/)
      await node.end('SIGKILL')
      await answer
      const other = failOver()
      // The client repeats its last fragment, because it had no Ack.
      const again = await other.fragment(half, file.subarray(half), file.length)
      expect([again.status, received(again)]).toEqual([200, file.length])
      expect(onUpload.mock.calls.map(([{ name }]) => name)).toEqual(['a.bin'])
      await expectPublished(place, file)
      // The record is read once a second, until it has been the same for ten seconds.
      const recordReads = sent.filter(({ text }) => /^GET .*records/.test(text))
      expect(recordReads.length).toBeGreaterThan(5)
      expect(recordReads.length).toBeLessThanOrEqual(15)
      expect((await other.close()).status).toBe(200)
      expect([...(await place.keys()), ...(await place.unfinished())]).toEqual(['a.bin'])
    })
  })
})
