/**
 * An upload server in its own process, started with --expose-gc, that reports how many requests V8 has not
 * collected: `young-server.ts DIRECTORY`.
 */

import { createServer } from 'node:http'
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { bitsUpload } from '../../lib/index.ts'

/** Bytes outside of the heap that each request is given: they are freed with it, and counted. */
const Ballast = 8 * 1024

const [store = ''] = process.argv.slice(2)
const upload = bitsUpload({ store, sweepEvery: 0 })
const server = createServer((request, response) => {
  Object.assign(request, { ballast: new ArrayBuffer(Ballast) })
  upload(request, response, () => response.writeHead(404).end())
})
server.listen(0, '127.0.0.1', () => process.send?.({ listening: server.address() }))

/** Collections of the whole heap. */
let whole = 0
new PerformanceObserver((list) => {
  for (const entry of list.getEntries() as readonly { detail?: { kind?: number } }[]) {
    if (entry.detail?.kind === constants.NODE_PERFORMANCE_GC_MAJOR) whole += 1
  }
}).observe({ entryTypes: ['gc'] })

process.on('message', async (kind: 'minor' | 'major') => {
  // Twice, for what survives one is old behind the other.
  for (let i = 0; i < 2; i += 1) {
    await new Promise(setImmediate)
    globalThis.gc?.({ type: kind })
  }
  // An observer is told later.
  await delay(50)
  const held = Math.round(process.memoryUsage().arrayBuffers / Ballast)
  process.send?.({ held, whole })
})
process.on('disconnect', () => process.exit())
