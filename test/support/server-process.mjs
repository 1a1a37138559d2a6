/**
 * An upload server in a process that tests can kill: `server-process.mjs DIRECTORY PORT`. The first message
 * to the parent is the port that it listens on. It answers each message with its memory in bytes, and the
 * delay of its event loop since the previous message in milliseconds. It runs the built package, because a
 * loader for TypeScript takes as much memory as the server.
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
