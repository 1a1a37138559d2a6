/**
 * A BITS upload of a small file with only those file system calls that the promises of this package need.
 * Written in Express 5, without locks and further checks.
 *
 * - Create-Session: `lstat`, so that an existing name is refused before the client sends gigabytes; `open`
 *   and `write` of a journal that outlives the process.
 * - Fragment: `open`, `writev` (with `O_DSYNC`) and `close`, so that the bytes survive a loss of power;
 *   `link`, which replaces no file and never shows a part of one; `fsync` of the directory, one for all
 *   fragments that wait for it; `write`, so that a file that was moved away is not published again after a
 *   crash.
 * - Close-Session: `unlink`, `close` and `unlink`, so that no session file remains.
 *
 * Both files are closed in the main thread, which does not block on ext4 and tmpfs. This package closes them in
 * another thread.
 *
 * `floor.mjs DIRECTORY [blocking]`: with `blocking` all calls but the two that sync are made in the main
 * thread. It shows the cost of the switch to libuv's threads and back. No server should do that: a slow disk
 * would stop all uploads and the rest of the application.
 */
import fs from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import express from 'express'
import { shareHiddenClasses } from './hidden-classes.mjs'
import { args, directory, serve } from './serve.mjs'

fs.mkdirSync(join(directory, 'sessions'), { recursive: true })
const directoryFd = fs.openSync(directory, 'r')
/** @param {'open' | 'write' | 'lstat' | 'link' | 'unlink'} name */
const call = (name) =>
  args.includes('blocking')
    ? async (/** @type {any[]} */ ...values) => Reflect.apply(fs[`${name}Sync`], fs, values)
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
/** Syncs the directory. A call during a sync waits for the next one. @returns {Promise<void>} */
function syncDirectory() {
  if (next) return next
  const begin = () => {
    next = undefined
    running = calls.fsync(directoryFd)
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
const exists = (path) =>
  calls.lstat(path, { throwIfNoEntry: false }).then(
    (/** @type {unknown} */ stats) => stats !== undefined,
    () => false,
  )

/** Each write syncs its bytes. */
const syncedWriting = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_DSYNC

/** Descriptors of the open journals. @type {Map<string, number>} */
const journals = new Map()

let last = 0
shareHiddenClasses()
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
        if (await exists(destination)) throw new Error(`${destination} exists`)
        const journal = await calls.open(`${path}.json`, 'ax')
        await calls.write(journal, JSON.stringify({ id, url: request.url }))
        journals.set(path, journal)
        break
      }
      case 'Fragment': {
        const body = await bodyOf(request)
        const part = await calls.open(`${path}.part`, syncedWriting)
        await calls.writev(part, body, 0)
        fs.closeSync(part)
        await calls.link(`${path}.part`, destination)
        await syncDirectory()
        await calls.write(Number(journals.get(path)), JSON.stringify({ published: true }))
        response.setHeader('BITS-Received-Content-Range', String(headers['content-length']))
        break
      }
      default:
        await calls.unlink(`${path}.part`)
        fs.closeSync(Number(journals.get(path)))
        journals.delete(path)
        await calls.unlink(`${path}.json`)
    }
    response.setHeader('Content-Length', 0)
    response.end()
  }),
)
