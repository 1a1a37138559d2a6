/**
 * A BITS upload of a small file, with the calls to the file system that what this package promises for one takes, and no
 * others. Made by hand in Express 5; it checks nothing else, and has no locks.
 *
 * Create-Session: `lstat`, for a name that is taken is refused before the client sends gigabytes; `open` and `write`, a
 * record that outlives the process. Fragment: `open`, `writev` (with `O_DSYNC`) and `close`, bytes that survive a loss of
 * power; `link`, a name that replaces nothing, and under which there is never a part of the file; `fsync` of the directory,
 * one for all who wait; `write`, so that no crash publishes again what somebody has taken away. Close-Session: `unlink`,
 * `close` and `unlink`, nothing is left behind. Both files are closed in the main thread, as this package does on ext4 and
 * tmpfs.
 *
 * `floor.mjs DIRECTORY [blocking]`: with the second all calls but the two that sync are made in the main thread. No server
 * should: while a disk is slow all uploads would stand still, and the rest of the application. It shows what the way to
 * libuv's threads and back takes.
 */
import fs from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import express from 'express'
import { directory, serve, words } from './serve.mjs'
import { shareShapes } from './shapes.mjs'

fs.mkdirSync(join(directory, 'sessions'), { recursive: true })
const folder = fs.openSync(directory, 'r')
/** @param {'open' | 'write' | 'lstat' | 'link' | 'unlink'} name */
const call = (name) =>
  words.includes('blocking')
    ? async (/** @type {any[]} */ ...args) => Reflect.apply(fs[`${name}Sync`], fs, args)
    : promisify(fs[name])
const calls = {
  open: call('open'),
  write: call('write'),
  lstat: call('lstat'),
  link: call('link'),
  unlink: call('unlink'),
  writev: promisify(fs.writev),
  fsync: promisify(fs.fsync),
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

/** @param {string} path */
const isTaken = (path) =>
  calls.lstat(path, { throwIfNoEntry: false }).then(
    (/** @type {unknown} */ found) => found !== undefined,
    () => false,
  )

/** Syncs what it writes. */
const written = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_DSYNC

/** The records, open as long as there is more to note. @type {Map<string, number>} */
const records = new Map()

let last = 0
shareShapes()
serve(
  express().use('/files', async (request, response) => {
    const { headers } = request
    const id = headers['bits-session-id'] ?? `{00000000-0000-4000-8000-${String(++last).padStart(12, '0')}}`
    const path = join(directory, 'sessions', String(id))
    const destination = join(directory, basename(request.url))
    response.setHeader('BITS-Packet-Type', 'Ack')
    response.setHeader('BITS-Session-Id', id)
    switch (headers['bits-packet-type']) {
      case 'Create-Session': {
        if (await isTaken(destination)) throw new Error(`${destination} is taken`)
        const record = await calls.open(`${path}.json`, 'ax')
        await calls.write(record, JSON.stringify({ id, url: request.url }))
        records.set(path, record)
        break
      }
      case 'Fragment': {
        const body = await bodyOf(request)
        const part = await calls.open(`${path}.part`, written)
        await calls.writev(part, body, 0)
        fs.closeSync(part)
        await calls.link(`${path}.part`, destination)
        await syncNames()
        await calls.write(Number(records.get(path)), JSON.stringify({ published: true }))
        response.setHeader('BITS-Received-Content-Range', String(headers['content-length']))
        break
      }
      default:
        await calls.unlink(`${path}.part`)
        fs.closeSync(Number(records.get(path)))
        records.delete(path)
        await calls.unlink(`${path}.json`)
    }
    response.setHeader('Content-Length', 0)
    response.end()
  }),
)
