/**
 * An upload server in a process of its own, to be killed: `server-process.mjs DIRECTORY PORT`. Says the port that it
 * listens on, and, whatever it is asked, the peak of its memory in bytes. It runs the built package: a loader for
 * TypeScript would take as much memory as the server.
 */
import { createServer } from 'node:http'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const [directory = '', port = '0'] = process.argv.slice(2)
const server = createServer(express().use('/upload', bitsUpload({ store: directory })))
server.listen(Number(port), '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object') process.send?.(address?.port)
})
process.on('message', () => process.send?.({ memory: process.resourceUsage().maxRSS * 1024 }))
process.on('disconnect', () => process.exit())
