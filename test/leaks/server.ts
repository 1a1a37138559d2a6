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

/** The resources of a process that an upload could leak. */
export interface Resources {
  /** Bytes, after a garbage collection. */
  readonly heap: number
  /** `process.getActiveResourcesInfo()`. */
  readonly handles: readonly string[]
  /** Open files, sockets and pipes; on Linux only, elsewhere 0. */
  readonly descriptors: number
  /** Listeners on emitters that exist as long as the process. */
  readonly listeners: Readonly<Record<string, number>>
  /** Subscribers of the diagnostics channels that report connections to the library. */
  readonly subscribers: Readonly<Record<string, number>>
  /** Live objects after a garbage collection. */
  readonly objects: Readonly<Record<string, number>>
  /**
   * Listeners that remained on requests, responses and sockets after their exchange: their number by event.
   */
  readonly remaining: Readonly<Record<string, number>>
}

/** A request from the test to the server process. */
export type Command = 'resources' | 'sweep' | 'busy'

const [directory = ''] = process.argv.slice(2)

// Opened now, because Node opens these streams at the first output, and each then counts as a handle.
void [process.stdout, process.stderr]

/**
 * Sessions expire at once, but are removed only when the test sweeps. `idleTimeout` is longer than the pause
 * between two writes of a client on a busy machine.
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

/** The number of listeners by emitter, event and name of the listener. */
function countListeners(emitters: Record<string, EventEmitter>): Record<string, number> {
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

/**
 * Exchanges with more listeners than when the middleware received them, and the listeners that they had then.
 */
const openExchanges = new Map<Exchange, Record<string, number>>()

/**
 * Listeners that Node itself adds when a response is sent before its request has arrived, or when a
 * connection ends.
 */
const listenersOfNode = ['request: end: clearIncoming', 'socket: error: noop', 'socket: finish: ']

const watch = (request: IncomingMessage, response: ServerResponse): void => {
  const exchange = { request, response, socket: request.socket }
  openExchanges.set(exchange, countListeners(exchange))
}

/** The number of remaining listeners by event. Stops watching exchanges that have none. */
function remainingListeners(): Record<string, number> {
  const all: Record<string, number> = {}
  for (const [exchange, before] of openExchanges) {
    const more = Object.entries(countListeners(exchange)).filter(
      ([listener, times]) => times > (before[listener] ?? 0) && !listenersOfNode.includes(listener),
    )
    if (more.length === 0) openExchanges.delete(exchange)
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

/** The number of live objects of a class. Collects garbage first. */
const objectsOf = (kind: Class): number => Number(v8.queryObjects(kind))
/** The number of entries of all maps, or all sets, read from their descriptions: `Map(3) {`. */
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
  // Node has no public way to count subscribers.
  (diagnostics.channel(name) as { _subscribers?: unknown[] })._subscribers?.length ?? 0

const handles = (): string[] => process.getActiveResourcesInfo().sort()

async function readResources(): Promise<Resources> {
  // First, because it stops watching exchanges, so that they can be collected.
  const remaining = remainingListeners()
  for (let i = 0; i < 3; i += 1) {
    await new Promise(setImmediate)
    globalThis.gc?.()
  }
  return {
    heap: process.memoryUsage().heapUsed,
    handles: handles(),
    descriptors: process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0,
    listeners: countListeners({ process, server, events: upload.events as EventEmitter }),
    subscribers: Object.fromEntries(channels.map((name) => [name, subscribers(name)])),
    objects: {
      requests: objectsOf(IncomingMessage),
      responses: objectsOf(ServerResponse),
      sockets: objectsOf(Socket),
      timers: objectsOf(Timeout),
      aborts: objectsOf(AbortController),
      promises: objectsOf(Promise as never),
      // Maps and sets contain the sessions that are locked, cached, counted or in use.
      'entries of maps': entriesOf(Map),
      'entries of sets': entriesOf(Set),
    },
    remaining,
  }
}

process.on('message', async (command: Command) => {
  if (command === 'sweep') process.send?.({ swept: await upload.sweep() })
  if (command === 'busy')
    process.send?.({ busy: handles().length + Object.keys(remainingListeners()).length })
  if (command === 'resources') process.send?.({ resources: await readResources() })
})
process.on('disconnect', () => process.exit())
