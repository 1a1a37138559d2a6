/** Sends the same bytes to the middleware and to plain Node, and records the requests that each sees. */

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'
import { onTestFinished } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { listen } from '../support/server.ts'
import { delivered, latin1 } from './raw.ts'
import { allowHalfOpen, recordRequests } from './record-requests.mjs'

export interface Seen {
  readonly method: string | undefined
  readonly url: string | undefined
  /** The header field `Note`. */
  readonly note: string | undefined
  readonly body: string
  readonly complete: boolean
}

/**
 * A server, and a function that resolves to the requests of the connection from a client port when that has
 * ended.
 */
export interface Side {
  readonly port: number
  readonly seen: (from: number) => Promise<readonly Seen[]>
}

/** Collects the requests of each connection by its client port. */
function requestLog() {
  const finished = new Map<number, readonly Seen[]>()
  const waiting = new Map<number, (seen: readonly Seen[]) => void>()
  return {
    add(port: number, seen: readonly Seen[]): void {
      const resolve = waiting.get(port)
      if (resolve) resolve(seen)
      else finished.set(port, seen)
      waiting.delete(port)
    },
    async seen(port: number): Promise<readonly Seen[]> {
      const seen = finished.get(port)
      finished.delete(port)
      return seen ?? new Promise((resolve) => waiting.set(port, resolve))
    },
  }
}

/** The middleware at the root of a server, before an application that answers when the body has arrived. */
export async function bitsSide(): Promise<Side & { readonly upload: ReturnType<typeof bitsUpload> }> {
  const upload = bitsUpload({ store: memoryStore(), sweepEvery: 0, maxFragmentSize: '32mb' })
  onTestFinished(() => upload.close({ grace: 0 }))
  const app: RequestListener = (request, response) =>
    upload(request, response, () => {
      request.resume().on('end', () => response.end())
    })
  const { add, seen } = requestLog()
  const server = allowHalfOpen(createServer(app))
  recordRequests(server, add)
  const url = await listen(server)
  return { upload, port: Number(url.port), seen }
}

let plain: Promise<Side> | undefined

/**
 * Plain Node in a worker with an unchanged `node:http`. All tests share it, because its start takes longer
 * than most tests.
 */
export const plainSide = (): Promise<Side> => {
  plain ??= startPlain()
  return plain
}

async function startPlain(): Promise<Side> {
  const { add, seen } = requestLog()
  const worker = new Worker(new URL('plain-server.mjs', import.meta.url))
  const [{ port }] = await once(worker, 'message')
  worker.on('message', (message) => add(message.port, message.seen))
  worker.unref()
  return { port, seen }
}

/** The replacement for plain Node: a method that it accepts and a longer path, so that no length changes. */
const replacement = ['BITS_POST /', 'POST /-----'] as const

/** The TCP packets that are sent before each wait for an answer. */
export type Turns = readonly (readonly string[])[]

/**
 * Translates turns for plain Node. Packets may split the method, so it is replaced in the joined text, which
 * is split again.
 */
export function inPlain(turns: Turns): Turns {
  let rest = turns
    .flat()
    .join('')
    .replaceAll(...replacement)
  return turns.map((packets) =>
    packets.map(({ length }) => {
      const packet = rest.slice(0, length)
      rest = rest.slice(length)
      return packet
    }),
  )
}

const inBits = (text: string): string => text.replaceAll(replacement[1], replacement[0])

/** A request that plain Node read, translated back to BITS_POST. */
export const translated = ({ method, url = '', note, body, complete }: Seen): Seen => ({
  ...(method === 'POST' && url.startsWith('/-----')
    ? { method: 'BITS_POST', url: `/${url.slice(6)}` }
    : { method, url }),
  note,
  body: inBits(body),
  complete,
})

/**
 * Sends the packets of each turn, waits for an answer or the end of the connection before the next turn, and
 * closes the client's side. Resolves to the requests that the server read until the connection ended.
 */
export async function sendTurns({ port, seen }: Side, turns: Turns): Promise<readonly Seen[]> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const from = socket.localPort as number
  let ended = false
  let wake = (): void => {}
  socket.on('data', () => wake())
  socket.on('error', () => {})
  socket.on('close', () => {
    ended = true
    wake()
  })
  for (const [i, packets] of turns.entries()) {
    const answer = new Promise<void>((resolve) => {
      wake = resolve
    })
    for (const packet of packets) {
      if (ended) break
      socket.write(latin1(packet))
      await delivered()
    }
    if (i < turns.length - 1 && !ended) await answer
  }
  socket.end()
  return seen(from)
}
