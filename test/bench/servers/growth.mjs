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
/** A figure is the mean of so many. */
const Times = 500
/** Where each of them adds to what the next one has to read. */
const FewTimes = 50
/** Fragments that an old upload has had. */
const Had = 1000
const Day = 24 * 60 * 60 * 1000
const GiB = 2 ** 30
const fragment = Buffer.alloc(4096)
const store = fileStore(directory)
/** Each fragment adds a fact to the session's record. */
const noting = fileStore(directory, { durability: 'fragment' })

/** @param {number} age milliseconds */
async function create(age, into = store) {
  const id = `{${randomUUID().toUpperCase()}}`
  const path = `/files/${id.slice(1, -1)}`
  const created = Date.now() - age
  const session = await into.create({
    id,
    name: path.slice(7),
    path,
    url: path,
    maxSize: 10 * GiB,
    overwrite: false,
    created,
  })
  into.release?.(session)
  return id
}

/** @param {string} id */
async function load(id) {
  const session = await store.load(id)
  if (!session) throw new Error('The session is not there')
  return session
}

/** @param {import('express-bits-upload').Session} session */
function append(session, to = store) {
  const body = (async function* () {
    yield [fragment]
  })()
  return to.append(session, body, { total: 8 * GiB, durable: false })
}

/** Fragments as packets bring them: what is held is read anew for each. @param {string} id */
async function receive(id, times = Times, to = store) {
  for (let time = 0; time < times; time += 1) to.release?.(await append(await load(id), to))
}

/** An upload that began ten days ago and has had its fragments: each is appended to what the one before left. */
async function old(to = store) {
  let session = await load(await create(10 * Day, to))
  for (let time = 0; time < Had; time += 1) session = await append(session, to)
  to.release?.(session)
  return session.id
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

/** Nothing here is to survive a loss of power. @param {number} left */
async function fill(left) {
  const filling = fileStore(directory, { durability: 'none' })
  const line = async () => {
    while (left-- > 0) {
      const session = await load(await create(10 * Day, filling))
      filling.release?.(await append(session, filling))
    }
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

/** An upload that is 4 GiB long. Holes are as good as bytes here: the part's length is the progress. */
async function far() {
  const { id } = await append(await load(await create(0)))
  await truncate(store.paths?.(await load(id)).upload ?? '', 4 * GiB)
  if ((await load(id)).received !== 4 * GiB) throw new Error('The part is not 4 GiB long')
  return id
}

async function work() {
  const upload = bitsUpload({ store, maxSessions: Number.POSITIVE_INFINITY })
  const server = createServer(express().use('/files', upload)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const startUp = performance.now()
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const first = await timed(() => begin(port))
  // The first session has begun a sweep, and this one waits for its end: these are two.
  const sweep = (first + (await timed(() => upload.sweep()))) / 2
  const list = await timed(() => exhaust(store.list()))
  const creating = await timed(async () => {
    for (let time = 0; time < Times; time += 1) await create(0)
  }, Times)
  const received = async (/** @type {string} */ id) => timed(() => receive(id), Times)
  const noted = async (/** @type {string} */ id) => timed(() => receive(id, FewTimes, noting), FewTimes)
  return {
    startUp,
    first,
    create: creating,
    fragment: await received(await create(0)),
    far: await received(await far()),
    old: await received(await old()),
    noted: await noted(await create(0, noting)),
    oldNoted: await noted(await old(noting)),
    list,
    sweep,
  }
}

process.on('disconnect', () => process.exit())
const found = task === 'fill' ? await fill(Number(count)) : await work()
console.log(JSON.stringify(found))
