/**
 * An upload server in a process of its own, to be killed: `server-process.mjs DIRECTORY PORT`. Says the port that it
 * listens on, and, whatever it is asked, its memory in bytes and its event loop's delay in milliseconds since last asked. It runs the built package: a loader for
 * TypeScript would take as much memory as the server.
 */
import { createServer } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const [directory = '', port = '0'] = process.argv.slice(2)
const server = createServer({ requestTimeout: 0 }, express().use('/upload', bitsUpload({ store: directory })))
server.listen(Number(port), '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object') process.send?.(address?.port)
})
const delay = monitorEventLoopDelay({ resolution: 10 })
delay.enable()
process.on('message', () => {
  globalThis.gc?.()
  process.send?.({
    memory: process.resourceUsage().maxRSS * 1024,
    resident: process.memoryUsage.rss(),
    delay: { median: delay.percentile(50) / 1e6, p99: delay.percentile(99) / 1e6 },
  })
  delay.reset()
})
process.on('disconnect', () => process.exit())
