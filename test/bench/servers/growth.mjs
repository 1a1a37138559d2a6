/**
 * Beside how many sessions: `growth.mjs DIRECTORY fill COUNT` makes them, old ones, and `growth.mjs DIRECTORY work` tells
 * what work costs then, in milliseconds, as JSON.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { truncate } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { performance } from 'node:perf_hooks'
import express from 'express'
import { bitsUpload, fileStore } from 'express-bits-upload'

const [, , directory = '', task, count = '0'] = process.argv
/** Each figure is the mean of so many. */
const Times = 500
const Day = 24 * 60 * 60 * 1000
const GiB = 2 ** 30
const fragment = Buffer.alloc(4096)
const store = fileStore(directory)

/** @param {number} age milliseconds */
async function create(age) {
  const id = `{${randomUUID().toUpperCase()}}`
  const path = `/files/${id.slice(1, -1)}`
  const created = Date.now() - age
  await store.create({
    id,
    name: path.slice(7),
    path,
    url: path,
    maxSize: 10 * GiB,
    overwrite: false,
    created,
  })
  return id
}

/** @param {string} id */
async function load(id) {
  const session = await store.load(id)
  if (!session) throw new Error('The session is not there')
  return session
}

/** Fragments behind those that are there, as packets bring them: what is held is read anew for each. @param {string} id */
async function append(id, times = Times) {
  for (let time = 0; time < times; time += 1) {
    const body = (async function* () {
      yield [fragment]
    })()
    await store.append(await load(id), body, { total: 8 * GiB, durable: false })
  }
}

/** @param {() => Promise<unknown>} work */
async function timed(work, times = 1) {
  const began = performance.now()
  await work()
  return (performance.now() - began) / times
}

/** @param {AsyncIterable<unknown>} iterable */
async function exhaust(iterable) {
  for await (const _ of iterable) {
    // Only the time is of interest.
  }
}

/** @param {number} left */
async function fill(left) {
  const line = async () => {
    while (left-- > 0) await append(await create(10 * Day), 1)
  }
  await Promise.all(Array.from({ length: 16 }, line))
  return {}
}

/** A session by way of HTTP. @param {number} port */
async function begin(port) {
  const headers = {
    'X-HTTP-Method-Override': 'BITS_POST',
    'BITS-Packet-Type': 'Create-Session',
    'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}',
    'Content-Length': 0,
  }
  const sent = request({ port, host: '127.0.0.1', method: 'POST', path: '/files/first', headers }).end()
  const [answer] = await once(sent, 'response')
  if (answer.statusCode !== 200) throw new Error(`The answer was ${answer.statusCode}`)
  answer.resume()
}

async function work() {
  const upload = bitsUpload({ store, maxSessions: Number.POSITIVE_INFINITY })
  const server = createServer(express().use('/files', upload)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const startUp = performance.now()
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const first = await timed(() => begin(port))
  const sweep = await timed(() => upload.sweep())
  const list = await timed(() => exhaust(store.list()))
  const creating = await timed(async () => {
    for (let time = 0; time < Times; time += 1) await create(0)
  }, Times)
  const near = await create(0)
  const appending = await timed(() => append(near), Times)
  // Holes are as good as bytes here: the part's length is the progress.
  const far = await create(0)
  await append(far, 1)
  const part = store.paths?.(await load(far)).upload ?? ''
  await truncate(part, 4 * GiB)
  if ((await load(far)).received !== 4 * GiB) throw new Error('The part is not 4 GiB long')
  const farther = await timed(() => append(far), Times)
  return { startUp, first, create: creating, fragment: appending, far: farther, list, sweep }
}

const found = task === 'fill' ? await fill(Number(count)) : await work()
console.log(JSON.stringify(found))
