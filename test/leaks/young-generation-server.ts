/**
 * An upload server in its own process, started with --expose-gc, that reports how many requests V8 has not
 * collected: `young-generation-server.ts DIRECTORY`.
 */

import { createServer } from 'node:http'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { bitsUpload } from '../../lib/index.ts'

/**
 * The size of an ArrayBuffer that each request holds. V8 frees it with the request, so that its bytes count
 * requests.
 */
const BallastBytes = 8 * 1024

const [store = ''] = process.argv.slice(2)
const upload = bitsUpload({ store, sweepEvery: 0 })
const server = createServer((request, response) => {
  Object.assign(request, { ballast: new ArrayBuffer(BallastBytes) })
  upload(request, response, () => response.writeHead(404).end())
})
server.listen(0, '127.0.0.1', () => process.send?.({ listening: server.address() }))

/** The number of collections of the whole heap. */
let majorCollections = 0
new PerformanceObserver((list) => {
  for (const entry of list.getEntries() as readonly { detail?: { kind?: number } }[]) {
    if (entry.detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR) majorCollections += 1
  }
}).observe({ entryTypes: ['gc'] })

process.on('message', async (kind: 'minor' | 'major') => {
  // Twice, because V8 promotes objects that survive one collection at the second.
  for (let i = 0; i < 2; i += 1) {
    await new Promise(setImmediate)
    globalThis.gc?.({ type: kind })
  }
  // The observer is called later.
  await delay(50)
  const held = Math.round(process.memoryUsage().arrayBuffers / BallastBytes)
  process.send?.({ held, majorCollections })
})
process.on('disconnect', () => process.exit())
