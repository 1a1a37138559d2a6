/**
 * Fuzz test over real sockets: the server neither crashes nor hangs, every answer is an Ack, and no file is
 * created outside the store. `fuzz.system.test.ts` has the long form, `fuzz.test.ts` the short one.
 */

import { createServer, type RequestListener, type Server } from 'node:http'
import express from 'express'
import fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import { bitsUpload } from '../../lib/index.ts'
import { TestClient } from '../support/client.ts'
import { listen } from '../support/server.ts'
import { type GuardedDirectory, guardedDirectory } from './guarded-directory.ts'
import { faultOfAck, isAck } from './is-ack.ts'
import { anyCase, type Case, OpenSessions } from './packets.ts'
import { exchange, latin1, type RawAnswer, readAnswers } from './raw.ts'

export interface FuzzOptions {
  /** Minimum number of cases. Each is a connection. */
  readonly cases: number
  readonly seed: number
  /** Maximum number of concurrent connections. */
  readonly batch: number
  /** Batches per seed. Then the next seed follows, until there were enough cases. */
  readonly runs: number
  /**
   * Statuses that the middleware must have returned at the end. Without them the cases did not cover enough
   * code.
   */
  readonly statuses: readonly number[]
}

interface Target {
  readonly port: number
  readonly mount: string
  readonly directory: GuardedDirectory
  /** Checks that a valid upload succeeds. */
  readonly checkUpload: () => Promise<void>
  /** Creates the sessions that the cases refer to. */
  readonly createSessions: () => Promise<string[]>
  /** Ends all sessions, and deletes the files that they created. */
  readonly endSessions: () => Promise<void>
}

/**
 * The application behind the middleware. Its answers have the field X-App.
 * @param unhandled receives the packets that the middleware passed on although it must answer them
 */
const application =
  (unhandled: string[]): RequestListener =>
  (request, response) => {
    const { method, url, headers } = request
    const override = method === 'POST' && headers['x-http-method-override'] === 'BITS_POST'
    if ((method === 'BITS_POST' && url?.startsWith('/upload/')) || override)
      unhandled.push(`${method} ${url}`)
    response.writeHead(404, { 'X-App': 'yes', 'Content-Length': 0 }).end()
  }

/**
 * Sets short timeouts, because many clients send half a head or nothing. They are longer than the delays of a
 * well-behaved client on a busy machine. An incomplete body ends by Node's `requestTimeout` on one of the
 * servers, and by the middleware's `idleTimeout` on the other.
 */
const withShortTimeouts = (server: Server, requestTimeout: number): Server =>
  Object.assign(server, { keepAliveTimeout: 250, headersTimeout: 500, requestTimeout })

async function target(mount: string, unhandled: string[]): Promise<Target> {
  const nextHandler = application(unhandled)
  const directory = await guardedDirectory()
  let enabled = true
  const upload = bitsUpload({
    store: directory.root,
    overwrite: false,
    idleTimeout: 250,
    sweepEvery: 0,
    enabled: () => enabled,
  })
  onTestFinished(() => upload.close({ grace: 0 }))
  const plainHandler: RequestListener = (request, response) =>
    upload(request, response, () => nextHandler(request, response))
  const app = mount === '' ? plainHandler : express().use(mount, upload).use(nextHandler)
  const url = await listen(
    withShortTimeouts(createServer({ connectionsCheckingInterval: 20 }, app), mount === '' ? 0 : 1000),
  )
  const port = Number(url.port)

  return {
    port,
    mount,
    directory,

    async checkUpload() {
      const client = new TestClient(new URL(`${mount}/alive.bin`, url))
      expect((await client.create()).status).toBe(200)
      expect((await client.fragment(0, Buffer.from('alive'), 5)).status).toBe(200)
      expect((await client.close()).status).toBe(200)
      client.agent.destroy()
    },

    createSessions: () =>
      Promise.all(
        Array.from({ length: OpenSessions }, async (_, i) => {
          const client = new TestClient(new URL(`${mount}/live${i}.bin`, url))
          expect((await client.create()).status).toBe(200)
          client.agent.destroy()
          return client.sessionId
        }),
      ),

    async endSessions() {
      enabled = false
      // Packets whose clients disconnected may still hold their sessions for a moment.
      while ((await upload.sweep()).open > 0) await new Promise(setImmediate)
      enabled = true
      await directory.clean()
    },
  }
}

/** The session id in the last answer; `none` if it has none. */
const lastIn = (received: Buffer): string =>
  received
    .toString('latin1')
    .match(/(?<=BITS-Session-Id: )\{.{36}\}/g)
    ?.at(-1) ?? 'none'

const fill = (text: string, mount: string, ids: readonly string[], received: Buffer): Buffer =>
  latin1(
    text
      .replaceAll('$MOUNT', mount)
      .replaceAll('$LAST', lastIn(received))
      .replace(/\$ID(\d)/g, (_, i) => ids[i] ?? '')
      .replace(/\$id(\d)/g, (_, i) => ids[i]?.toLowerCase() ?? ''),
  )

/**
 * @returns why an answer is wrong; undefined for a valid Ack, an answer of the application, or an error of
 *   Node's parser
 */
function faultOf(answer: RawAnswer): string | undefined {
  if (isAck(answer)) return faultOfAck(answer)
  if (answer.headers['x-app'] === 'yes' || answer.head === 'HTTP/1.1 100 Continue') return undefined
  // Node's own answers: for an unknown expectation, for a missing Host, and for errors of its parser.
  const { status, headers } = answer
  if (status === 417 || (status === 400 && headers['transfer-encoding'] === 'chunked')) return undefined
  if ([400, 408, 413, 431].includes(status) && answer.rawHeaders.join() === 'Connection,close')
    return undefined
  // Express's answer to a target that it cannot route, such as `HTTP://`.
  if ((status === 404 || status === 400) && headers['content-security-policy']) return undefined
  return `unexpected answer: ${answer.head}`
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
    turns.map((packets) => (received) => packets.map((packet) => fill(packet, mount, ids, received))),
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
  it(`Fuzz test: finds no crash, hang, invalid Ack or misplaced file in ${least} cases from seed ${seed}`, {
    timeout: 60_000 + least * 60,
  }, async () => {
    const crashes: unknown[] = []
    const onCrash = (error: unknown) => crashes.push(error)
    process.on('uncaughtException', onCrash).on('unhandledRejection', onCrash)
    onTestFinished(() => {
      process.off('uncaughtException', onCrash).off('unhandledRejection', onCrash)
    })
    const unhandled: string[] = []
    const seen = new Set<number>()
    const targets = [await target('', unhandled), await target('/upload', unhandled)] as const
    let count = 0

    const property = fc.asyncProperty(
      fc.array(anyCase, { minLength: 1, maxLength: batch, size: 'max' }),
      async (cases) => {
        count += cases.length
        const ids = await Promise.all(targets.map((each) => each.createSessions()))
        const which = (mounted: boolean) => (mounted ? 1 : 0)
        const results = await Promise.allSettled(
          cases.map((each) => run(each, targets[which(each.mounted)], ids[which(each.mounted)] ?? [])),
        )
        const failures: unknown[] = []
        for (const result of results) {
          if (result.status === 'rejected') failures.push(result.reason)
          else for (const status of result.value) seen.add(status)
        }
        for (const { directory, endSessions, checkUpload } of targets) {
          expect(await directory.violations()).toEqual([])
          await endSessions()
          await checkUpload()
          await directory.clean()
        }
        expect(failures).toEqual([])
        expect(crashes.splice(0)).toEqual([])
        expect(unhandled.splice(0)).toEqual([])
      },
    )

    // In rounds, because batches differ in size. A failed seed can be repeated alone with FUZZ_SEED.
    for (let round = 0; count < least; round += 1) {
      await fc.assert(property, { seed: seed + round, numRuns: runs, interruptAfterTimeLimit: 60_000 })
    }
    expect([...seen].sort()).toEqual(expect.arrayContaining([...statuses]))
  })
}
