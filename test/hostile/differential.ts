/** Sends the same bytes to the middleware and to plain Node, and records the requests that each sees. */

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { Worker } from 'node:worker_threads'
import { onTestFinished } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { listen } from '../support/server.ts'
import { delivered, latin1 } from './raw.ts'
import { lenient, record } from './record.mjs'

export interface Seen {
  readonly method: string | undefined
  readonly url: string | undefined
  /** The header field `Note`. */
  readonly note: string | undefined
  readonly body: string
  readonly complete: boolean
}

/** A server, and the requests that came over the connection from a port, once that has ended. */
export interface Side {
  readonly port: number
  readonly seen: (from: number) => Promise<readonly Seen[]>
}

function ledger() {
  const known = new Map<number, readonly Seen[]>()
  const waiting = new Map<number, (seen: readonly Seen[]) => void>()
  return {
    tell(port: number, seen: readonly Seen[]): void {
      const wake = waiting.get(port)
      if (wake) wake(seen)
      else known.set(port, seen)
      waiting.delete(port)
    },
    async seen(port: number): Promise<readonly Seen[]> {
      const seen = known.get(port)
      known.delete(port)
      return seen ?? new Promise((resolve) => waiting.set(port, resolve))
    },
  }
}

/** The middleware at the root of a server; behind it an application that answers when the body has come. */
export async function bitsSide(): Promise<Side & { readonly upload: ReturnType<typeof bitsUpload> }> {
  const upload = bitsUpload({ store: memoryStore(), sweepEvery: 0, maxFragmentSize: '32mb' })
  onTestFinished(() => upload.close({ grace: 0 }))
  const app: RequestListener = (request, response) =>
    upload(request, response, () => {
      request.resume().on('end', () => response.end())
    })
  const { tell, seen } = ledger()
  const server = lenient(createServer(app))
  record(server, tell)
  const url = await listen(server)
  return { upload, port: Number(url.port), seen }
}

let plain: Promise<Side> | undefined

/** Plain Node, in a worker whose `node:http` is as Node made it. All tests share it: to start it takes longer than most. */
export const plainSide = (): Promise<Side> => {
  plain ??= startPlain()
  return plain
}

async function startPlain(): Promise<Side> {
  const { tell, seen } = ledger()
  const worker = new Worker(new URL('plain-server.mjs', import.meta.url))
  const [{ port }] = await once(worker, 'message')
  worker.on('message', (message) => tell(message.port, message.seen))
  worker.unref()
  return { port, seen }
}

/** Plain Node's spelling: a verb that it knows, and a path that is longer, so that no length is another. */
const spellings = ['BITS_POST /', 'POST /-----'] as const

/** What is sent before each wait for an answer, in the packets in which it is sent. */
export type Turns = readonly (readonly string[])[]

/** The verb may be cut, so it is replaced in the whole, and the whole cut again where it was. */
export function inPlain(turns: Turns): Turns {
  let rest = turns
    .flat()
    .join('')
    .replaceAll(...spellings)
  return turns.map((packets) =>
    packets.map(({ length }) => {
      const packet = rest.slice(0, length)
      rest = rest.slice(length)
      return packet
    }),
  )
}

const inBits = (text: string): string => text.replaceAll(spellings[1], spellings[0])

/** What plain Node saw, as it would be with BITS_POST for a method. */
export const translated = ({ method, url = '', note, body, complete }: Seen): Seen => ({
  ...(method === 'POST' && url.startsWith('/-----')
    ? { method: 'BITS_POST', url: `/${url.slice(6)}` }
    : { method, url }),
  note,
  body: inBits(body),
  complete,
})

/**
 * Sends the packets of each turn; waits for an answer, or the end, before the next; hangs up. Resolves to what the
 * server saw until the connection ended.
 */
export async function converse({ port, seen }: Side, turns: Turns): Promise<readonly Seen[]> {
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
