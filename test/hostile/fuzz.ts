/**
 * Fuzz test over real sockets: the server neither crashes nor hangs, every answer is an Ack, and no file is
 * created outside its place. `fuzz.system.test.ts` has the long form, `fuzz.test.ts` the short one.
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

export interface FuzzOptions {
  /** Fewest cases. Each is a connection. */
  readonly cases: number
  readonly seed: number
  /** Most connections at once. */
  readonly batch: number
  /** Batches per seed; after them the next seed follows, until there were enough cases. */
  readonly runs: number
  /** Statuses that the middleware must have answered at the end; else the cases do not get deep enough. */
  readonly statuses: readonly number[]
}

interface Target {
  readonly port: number
  readonly mount: string
  readonly land: Territory
  /** Checks that a valid upload succeeds. */
  readonly alive: () => Promise<void>
  /** Creates the sessions that the cases refer to. */
  readonly begin: () => Promise<string[]>
  /** Ends all sessions, and deletes the files that they created. */
  readonly tidy: () => Promise<void>
}

/**
 * The application behind the middleware. Its answers are marked as its own.
 * @param strays the packets that reached it although the middleware must answer them are added here
 */
const application =
  (strays: string[]): RequestListener =>
  (request, response) => {
    const { method, url, headers } = request
    const override = method === 'POST' && headers['x-http-method-override'] === 'BITS_POST'
    if ((method === 'BITS_POST' && url?.startsWith('/upload/')) || override) strays.push(`${method} ${url}`)
    response.writeHead(404, { 'X-App': 'yes', 'Content-Length': 0 }).end()
  }

/**
 * Sets timeouts that are short, because many clients send half a head or nothing, but longer than a busy machine keeps a
 * well-behaved client waiting. An incomplete body ends on one of the servers by Node's `requestTimeout`, on the other by
 * the middleware's `idleTimeout`.
 */
const hasty = (server: Server, requestTimeout: number): Server =>
  Object.assign(server, { keepAliveTimeout: 250, headersTimeout: 500, requestTimeout })

async function target(mount: string, strays: string[]): Promise<Target> {
  const behind = application(strays)
  const land = await territory()
  let enabled = true
  const upload = bitsUpload({
    store: land.root,
    overwrite: false,
    idleTimeout: 250,
    sweepEvery: 0,
    enabled: () => enabled,
  })
  onTestFinished(() => upload.close({ grace: 0 }))
  const alone: RequestListener = (request, response) =>
    upload(request, response, () => behind(request, response))
  const app = mount === '' ? alone : express().use(mount, upload).use(behind)
  const url = await listen(
    hasty(createServer({ connectionsCheckingInterval: 20 }, app), mount === '' ? 0 : 1000),
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
      // Packets whose clients disconnected may still hold their sessions for a moment.
      while ((await upload.sweep()).open > 0) await new Promise(setImmediate)
      enabled = true
      await land.clean()
    },
  }
}

/** The session id in the last answer; `none` if it has none. */
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

/** Undefined if the answer is a valid Ack, one of the application, or an error of Node's HTTP parser. */
function faultOf(answer: RawAnswer): string | undefined {
  if (isAck(answer)) return faultOfAck(answer)
  if (answer.headers['x-app'] === 'yes' || answer.head === 'HTTP/1.1 100 Continue') return undefined
  // Node's own answers: an unknown expectation, a missing Host, and errors of its parser.
  const { status, headers } = answer
  if (status === 417 || (status === 400 && headers['transfer-encoding'] === 'chunked')) return undefined
  if ([400, 408, 413, 431].includes(status) && answer.rawHeaders.join() === 'Connection,close')
    return undefined
  // Express's final answer to a target that it cannot route, such as `HTTP://`.
  if ((status === 404 || status === 400) && headers['content-security-policy']) return undefined
  return `unknown answer: ${answer.head}`
}

/**
 * Runs a case.
 * @returns the statuses of the middleware's answers
 */
async function run(
  { turns, ending }: Case,
  { port, mount }: Target,
  ids: readonly string[],
): Promise<number[]> {
  const bytes = await exchange(
    port,
    turns.map((packets) => (back) => packets.map((packet) => fill(packet, mount, ids, back))),
    { ending },
  )
  // An answer may be incomplete only if the client itself disconnected.
  if (ending === 'reset') return []
  const answers = readAnswers(bytes)
  expect(answers.map(faultOf).filter(Boolean)).toEqual([])
  return answers.filter(isAck).map(({ status }) => status)
}

/** Declares the fuzz test. */
export function fuzz({ cases: least, seed, batch, runs, statuses }: FuzzOptions): void {
  it(`Fuzz test: finds no crash, hang, invalid Ack or stray file in ${least} cases from seed ${seed}`, {
    timeout: 60_000 + least * 60,
  }, async () => {
    const crashes: unknown[] = []
    const onCrash = (error: unknown) => crashes.push(error)
    process.on('uncaughtException', onCrash).on('unhandledRejection', onCrash)
    onTestFinished(() => {
      process.off('uncaughtException', onCrash).off('unhandledRejection', onCrash)
    })
    const strays: string[] = []
    const seen = new Set<number>()
    const targets = [await target('', strays), await target('/upload', strays)] as const
    let count = 0

    const property = fc.asyncProperty(
      fc.array(anyCase, { minLength: 1, maxLength: batch, size: 'max' }),
      async (cases) => {
        count += cases.length
        const ids = await Promise.all(targets.map((each) => each.begin()))
        const which = (mounted: boolean) => (mounted ? 1 : 0)
        const results = await Promise.allSettled(
          cases.map((each) => run(each, targets[which(each.mounted)], ids[which(each.mounted)] ?? [])),
        )
        const failures: unknown[] = []
        for (const result of results) {
          if (result.status === 'rejected') failures.push(result.reason)
          else for (const status of result.value) seen.add(status)
        }
        for (const { land, tidy, alive } of targets) {
          expect(await land.faults()).toEqual([])
          await tidy()
          await alive()
          await land.clean()
        }
        expect(failures).toEqual([])
        expect(crashes.splice(0)).toEqual([])
        expect(strays.splice(0)).toEqual([])
      },
    )

    // In rounds, because batches differ in size. A seed that fails is the first one when it is given again.
    for (let round = 0; count < least; round += 1) {
      await fc.assert(property, { seed: seed + round, numRuns: runs, interruptAfterTimeLimit: 60_000 })
    }
    expect([...seen].sort()).toEqual(expect.arrayContaining([...statuses]))
  })
}
