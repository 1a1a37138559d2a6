/**
 * An upload server in its own process, started with --expose-gc, that reports its resources:
 * `server.ts DIRECTORY`. Besides the library it uses only plain Node. The clients run in another process.
 */

import diagnostics from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer, IncomingMessage, type RequestListener, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import v8 from 'node:v8'
import { bitsUpload } from '../../lib/index.ts'
import type { Census, Question } from './census.ts'

const [directory = ''] = process.argv.slice(2)

/**
 * Sessions are over at once, but only when the test sweeps. `idleTimeout` is longer than a busy machine lets a client wait
 * between two writes.
 */
const upload = bitsUpload({
  store: directory,
  sweepEvery: 0,
  expireAfter: 1,
  idleTimeout: 400,
  maxFragmentSize: '1mb',
  authorize: ({ headers }) => headers.user?.toString(),
})

const channels = ['net.server.socket']

/** Listeners by emitter, event and the listener's own name. */
function count(emitters: Record<string, EventEmitter>): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [name, emitter] of Object.entries(emitters)) {
    for (const event of emitter.eventNames()) {
      for (const listener of emitter.listeners(event)) {
        const key = `${name}: ${String(event)}: ${listener.name}`
        counts[key] = (counts[key] ?? 0) + 1
      }
    }
  }
  return counts
}

type Exchange = Record<'request' | 'response' | 'socket', EventEmitter>

/** Exchanges whose listeners are not back to what they were when the middleware got them. */
const open = new Map<Exchange, Record<string, number>>()

/** What Node itself adds when an answer goes out before its request has come, or a connection ends. */
const nodes = ['request: end: clearIncoming', 'socket: error: noop', 'socket: finish: ']

const watch = (request: IncomingMessage, response: ServerResponse): void => {
  const exchange = { request, response, socket: request.socket }
  open.set(exchange, count(exchange))
}

/** How often each listener was left behind. Exchanges that are in order are forgotten. */
function leftovers(): Record<string, number> {
  const all: Record<string, number> = {}
  for (const [exchange, before] of open) {
    const more = Object.entries(count(exchange)).filter(
      ([listener, times]) => times > (before[listener] ?? 0) && !nodes.includes(listener),
    )
    if (more.length === 0) open.delete(exchange)
    for (const [listener] of more) all[listener] = (all[listener] ?? 0) + 1
  }
  return all
}

const app: RequestListener = (request, response) => {
  watch(request, response)
  upload(request, response, () => response.writeHead(404).end())
}

const server = createServer(app)
server.listen(0, '127.0.0.1', () => process.send?.({ listening: server.address() }))

type Class = new (...args: never[]) => object

/** How many objects of a class are alive. Collects garbage first. */
const objectsOf = (kind: Class): number => Number(v8.queryObjects(kind))
/** How many entries all maps, or sets, have together. Their descriptions begin with that: `Map(3) {`. */
const entriesOf = (kind: Class): number => {
  const descriptions = v8.queryObjects(kind, { format: 'summary' }) as string[]
  return descriptions.reduce((sum, text) => sum + Number(/^\w+\((\d+)\)/.exec(text)?.[1] ?? 0), 0)
}
const Timeout = (() => {
  const timeout = setTimeout(() => {}, 0)
  clearTimeout(timeout)
  return timeout.constructor as new () => object
})()
const subscribers = (name: string): number =>
  // Not public, and the only place where it can be read how many there are.
  (diagnostics.channel(name) as { _subscribers?: unknown[] })._subscribers?.length ?? 0

const handles = (): string[] => process.getActiveResourcesInfo().sort()

async function census(): Promise<Census> {
  // First, for it lets go of what was watched.
  const left = leftovers()
  for (let i = 0; i < 3; i += 1) {
    await new Promise(setImmediate)
    globalThis.gc?.()
  }
  return {
    heap: process.memoryUsage().heapUsed,
    handles: handles(),
    descriptors: process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0,
    listeners: count({ process, server, events: upload.events as EventEmitter }),
    subscribers: Object.fromEntries(channels.map((name) => [name, subscribers(name)])),
    objects: {
      requests: objectsOf(IncomingMessage),
      responses: objectsOf(ServerResponse),
      sockets: objectsOf(Socket),
      timers: objectsOf(Timeout),
      aborts: objectsOf(AbortController),
      promises: objectsOf(Promise as never),
      // Those of all maps and sets of the process: sessions that are locked, counted, followed, worked on.
      'entries of maps': entriesOf(Map),
      'entries of sets': entriesOf(Set),
    },
    leftovers: left,
  }
}

process.on('message', async (question: Question) => {
  if (question === 'sweep') process.send?.({ swept: await upload.sweep() })
  if (question === 'busy') process.send?.({ busy: handles().length + Object.keys(leftovers()).length })
  if (question === 'census') process.send?.({ census: await census() })
})
process.on('disconnect', () => process.exit())
