/**
 * Fuzz test over real sockets: the server neither crashes nor hangs, every answer is an Ack, and no file is
 * created outside its place.
 *
 *     FUZZ_CASES=100000 npx vitest run --project system test/hostile        the long run
 *     FUZZ_SEED=…       npx vitest run --project system test/hostile        repeats a failure with the seed that it printed
 */

import { createServer, type RequestListener, type Server } from 'node:http'
import express from 'express'
import fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import { bitsUpload } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { listen } from '../support/server.ts'
import { faultOfAck, isAck } from './is-ack.ts'
import { anyCase, type Case, Live } from './packets.ts'
import { exchange, latin1, type RawAnswer, readAnswers } from './raw.ts'
import { type Territory, territory } from './territory.ts'

const Cases = Number(process.env.FUZZ_CASES ?? 3000)
// The short form is the same every time; the long one looks elsewhere each time.
const Seed = Number(process.env.FUZZ_SEED ?? (process.env.FUZZ_CASES ? Date.now() % 2 ** 31 : 1))
/** Connections at once. */
const Batch = 200

interface Target {
  readonly port: number
  readonly mount: string
  readonly land: Territory
  /** A whole upload, the way a well-behaved client does it. */
  readonly alive: () => Promise<void>
  /** Begins the sessions that cases find. */
  readonly begin: () => Promise<string[]>
  /** Ends all sessions, and takes away what they made. */
  readonly tidy: () => Promise<void>
}

/** Requests that reached the application behind the middleware and had no business there. */
const strays: string[] = []

/** The statuses that the middleware has given. */
const seen = new Set<number>()

/** The app behind: its answers say that they are not the middleware's. */
const behind: RequestListener = (request, response) => {
  const { method, url, headers } = request
  const override = method === 'POST' && headers['x-http-method-override'] === 'BITS_POST'
  if ((method === 'BITS_POST' && url?.startsWith('/upload/')) || override) strays.push(`${method} ${url}`)
  response.writeHead(404, { 'X-App': 'yes', 'Content-Length': 0 }).end()
}

/**
 * Those who send half a head or nothing are to be gone in a moment. Half a body is Node's affair on one of the servers
 * (`requestTimeout`), the middleware's own on the other (`idleTimeout`).
 */
const hasty = (server: Server, requestTimeout: number): Server =>
  Object.assign(server, { keepAliveTimeout: 40, headersTimeout: 80, requestTimeout })

async function target(mount: string): Promise<Target> {
  const land = await territory()
  let enabled = true
  const upload = bitsUpload({
    store: land.root,
    overwrite: false,
    idleTimeout: 40,
    sweepEvery: 0,
    enabled: () => enabled,
  })
  onTestFinished(() => upload.close({ grace: 0 }))
  const alone: RequestListener = (request, response) =>
    upload(request, response, () => behind(request, response))
  const app = mount === '' ? alone : express().use(mount, upload).use(behind)
  const url = await listen(
    hasty(createServer({ connectionsCheckingInterval: 20 }, app), mount === '' ? 0 : 160),
  )
  const port = Number(url.port)

  return {
    port,
    mount,
    land,

    async alive() {
      const client = new TestClient(new URL(`${mount}/alive.bin`, url))
      expect((await client.create()).status).toBe(200)
      expect((await client.fragment(0, Buffer.from('alive'), 5)).status).toBe(200)
      expect((await client.close()).status).toBe(200)
      client.agent.destroy()
    },

    begin: () =>
      Promise.all(
        Array.from({ length: Live }, async (_, i) => {
          const client = new TestClient(new URL(`${mount}/live${i}.bin`, url))
          expect((await client.create()).status).toBe(200)
          client.agent.destroy()
          return client.sessionId
        }),
      ),

    async tidy() {
      enabled = false
      // Packets whose clients have vanished may still hold their sessions for a moment.
      while ((await upload.sweep()).open > 0) await new Promise(setImmediate)
      enabled = true
      await land.clean()
    },
  }
}

/** The session's id in the last answer, or something in its place. */
const lastIn = (back: Buffer): string =>
  back
    .toString('latin1')
    .match(/(?<=BITS-Session-Id: )\{.{36}\}/g)
    ?.at(-1) ?? 'none'

const fill = (text: string, mount: string, ids: readonly string[], back: Buffer): Buffer =>
  latin1(
    text
      .replaceAll('$MOUNT', mount)
      .replaceAll('$LAST', lastIn(back))
      .replace(/\$ID(\d)/g, (_, i) => ids[i] ?? '')
      .replace(/\$id(\d)/g, (_, i) => ids[i]?.toLowerCase() ?? ''),
  )

/** Undefined if an answer is an Ack as it should be, the application's own, or a refusal of Node's parser. */
function faultOf(answer: RawAnswer): string | undefined {
  if (isAck(answer)) return faultOfAck(answer)
  if (answer.headers['x-app'] === 'yes' || answer.head === 'HTTP/1.1 100 Continue') return undefined
  // Node's own: an expectation that nobody meets, no Host, and what its parser refuses.
  const { status, headers } = answer
  if (status === 417 || (status === 400 && headers['transfer-encoding'] === 'chunked')) return undefined
  if ([400, 408, 413, 431].includes(status) && answer.rawHeaders.join() === 'Connection,close')
    return undefined
  // Express's last word on a target that it cannot route, such as `HTTP://`.
  if ((status === 404 || status === 400) && headers['content-security-policy']) return undefined
  return `whose answer is this? ${answer.head}`
}

async function run({ turns, ending }: Case, { port, mount }: Target, ids: readonly string[]): Promise<void> {
  const bytes = await exchange(
    port,
    turns.map((packets) => (back) => packets.map((packet) => fill(packet, mount, ids, back))),
    { ending },
  )
  // An answer may be torn only where the client itself went away.
  if (ending === 'reset') return
  const answers = readAnswers(bytes)
  for (const each of answers) if (isAck(each)) seen.add(each.status)
  expect(answers.map(faultOf).filter(Boolean)).toEqual([])
}

it(`Fuzz test: finds no crash, hang, invalid Ack or stray file in ${Cases} cases from seed ${Seed}`, {
  timeout: 60_000 + Cases * 60,
}, async () => {
  const crashes: unknown[] = []
  const onCrash = (error: unknown) => crashes.push(error)
  process.on('uncaughtException', onCrash).on('unhandledRejection', onCrash)
  onTestFinished(() => {
    process.off('uncaughtException', onCrash).off('unhandledRejection', onCrash)
  })
  const targets = [await target(''), await target('/upload')] as const
  let count = 0

  const property = fc.asyncProperty(
    fc.array(anyCase, { minLength: 1, maxLength: Batch, size: 'max' }),
    async (cases) => {
      count += cases.length
      const ids = await Promise.all(targets.map((each) => each.begin()))
      const which = (mounted: boolean) => (mounted ? 1 : 0)
      const ends = cases.map((each) =>
        run(each, targets[which(each.mounted)], ids[which(each.mounted)] ?? []),
      )
      const failed = (await Promise.allSettled(ends)).filter(({ status }) => status === 'rejected')
      for (const { land, tidy, alive } of targets) {
        expect(await land.faults()).toEqual([])
        await tidy()
        await alive()
        await land.clean()
      }
      expect(failed.map((each) => (each as PromiseRejectedResult).reason)).toEqual([])
      expect(crashes.splice(0)).toEqual([])
      expect(strays.splice(0)).toEqual([])
    },
  )

  // In rounds, because batches differ in size; a seed that fails is the first one when it is tried again.
  for (let round = 0; count < Cases; round += 1) {
    await fc.assert(property, { seed: Seed + round, numRuns: 20, interruptAfterTimeLimit: 60_000 })
  }
  // Else the cases do not get anywhere.
  if (Cases >= 3000) expect([...seen].sort()).toEqual(expect.arrayContaining([200, 400, 404, 416, 500]))
})
