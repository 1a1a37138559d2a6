/**
 * A BITS upload of a small file, with the fewest calls to the file system that keep what this package promises for one: a
 * record that outlives the process, bytes that are synced, a name that replaces nothing and is synced too (one sync of
 * the directory for all who wait), and nothing that is left behind. Made by hand in Express 5; it checks nothing, and has no locks.
 */
import { close, fdatasync, fsync, link, mkdirSync, open, openSync, unlink, write, writev } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import express from 'express'
import { directory, serve } from './serve.mjs'

mkdirSync(join(directory, 'sessions'), { recursive: true })
const folder = openSync(directory, 'r')
const calls = {
  open: promisify(open),
  close: promisify(close),
  write: promisify(write),
  writev: promisify(writev),
  fdatasync: promisify(fdatasync),
  fsync: promisify(fsync),
  link: promisify(link),
  unlink: promisify(unlink),
}

/** @type {Promise<void> | undefined} */
let running
/** @type {Promise<void> | undefined} */
let next
/** What was done before a sync begins is in it. @returns {Promise<void>} */
function syncNames() {
  if (next) return next
  const begin = () => {
    next = undefined
    running = calls.fsync(folder)
    return running
  }
  if (!running) return begin()
  next = running.then(begin)
  return next
}

/** @param {express.Request} request @returns {Promise<Buffer[]>} */
const bodyOf = (request) =>
  new Promise((resolve, reject) => {
    /** @type {Buffer[]} */
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => resolve(chunks)).on('error', reject)
  })

let last = 0
serve(
  express().post('/files/:name', async (request, response) => {
    const { headers } = request
    const id = headers['bits-session-id'] ?? `{00000000-0000-4000-8000-${String(++last).padStart(12, '0')}}`
    const path = join(directory, 'sessions', String(id))
    response.setHeader('BITS-Packet-Type', 'Ack')
    response.setHeader('BITS-Session-Id', id)
    switch (headers['bits-packet-type']) {
      case 'Create-Session': {
        const record = await calls.open(`${path}.json`, 'ax')
        await calls.write(record, JSON.stringify({ id, url: request.url }))
        await calls.close(record)
        break
      }
      case 'Fragment': {
        const body = await bodyOf(request)
        const part = await calls.open(`${path}.part`, 'w')
        await calls.writev(part, body, 0)
        await calls.fdatasync(part)
        await calls.link(`${path}.part`, join(directory, basename(request.params.name)))
        await calls.close(part)
        await syncNames()
        response.setHeader('BITS-Received-Content-Range', String(headers['content-length']))
        break
      }
      default:
        await calls.unlink(`${path}.part`)
        await calls.unlink(`${path}.json`)
    }
    response.setHeader('Content-Length', 0)
    response.end()
  }),
)
