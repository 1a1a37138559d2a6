/**
 * Measures work in a directory with many sessions: `growth.mjs DIRECTORY fill COUNT` creates old sessions,
 * and `growth.mjs DIRECTORY work` prints the durations in milliseconds as JSON.
 */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { truncate } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { performance } from 'node:perf_hooks'
import express from 'express'
import { bitsUpload, fileStore } from 'express-bits-upload'

const [, , directory = '', task, count = '0'] = process.argv
/** Each figure is the mean of this many operations. */
const Repetitions = 500
/** The same for operations that append to the journal that the next one reads. */
const JournalRepetitions = 50
/** Fragments that an old upload has received. */
const OldFragments = 1000
const DayMs = 24 * 60 * 60 * 1000
const GiB = 2 ** 30
const fragment = Buffer.alloc(4096)
const store = fileStore(directory)
/** Each fragment appends to the session's journal. */
const durableStore = fileStore(directory, { durability: 'fragment' })

/** @param {number} age milliseconds since the session began */
async function create(age, to = store) {
  const id = `{${randomUUID().toUpperCase()}}`
  const path = `/files/${id.slice(1, -1)}`
  const created = Date.now() - age
  const session = await to.create({
    id,
    name: path.slice(7),
    path,
    url: path,
    maxSize: 10 * GiB,
    overwrite: false,
    created,
  })
  to.release?.(session)
  return id
}

/** @param {string} id */
async function load(id) {
  const session = await store.load(id)
  if (!session) throw new Error('The session does not exist')
  return session
}

/** @param {import('express-bits-upload').Session} session */
function append(session, to = store) {
  const body = (async function* () {
    yield [fragment]
  })()
  return to.append(session, body, { total: 8 * GiB, durable: false })
}

/** Fragments as in packets: the session is loaded for each. @param {string} id */
async function receive(id, count = Repetitions, to = store) {
  for (let i = 0; i < count; i += 1) to.release?.(await append(await load(id), to))
}

/** Creates an upload that began ten days ago and has received its fragments. */
async function createOld(to = store) {
  let session = await load(await create(10 * DayMs, to))
  for (let i = 0; i < OldFragments; i += 1) session = await append(session, to)
  to.release?.(session)
  return session.id
}

/** @param {() => Promise<unknown>} work */
async function timed(work, count = 1) {
  const startedAt = performance.now()
  await work()
  return (performance.now() - startedAt) / count
}

/** @param {AsyncIterable<unknown>} iterable */
async function exhaust(iterable) {
  for await (const _ of iterable) {
    // Only the duration matters.
  }
}

/** Creates sessions with one fragment each, without syncs. @param {number} count */
async function fill(count) {
  let remaining = count
  const fastStore = fileStore(directory, { durability: 'none' })
  const worker = async () => {
    while (remaining-- > 0) {
      const session = await load(await create(10 * DayMs, fastStore))
      fastStore.release?.(await append(session, fastStore))
    }
  }
  await Promise.all(Array.from({ length: 16 }, worker))
  return {}
}

/** Creates a session over HTTP. @param {number} port */
async function createOverHttp(port) {
  const headers = {
    'X-HTTP-Method-Override': 'BITS_POST',
    'BITS-Packet-Type': 'Create-Session',
    'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}',
    'Content-Length': 0,
  }
  const outgoing = request({ port, host: '127.0.0.1', method: 'POST', path: '/files/first', headers }).end()
  const [response] = await once(outgoing, 'response')
  if (response.statusCode !== 200) throw new Error(`The status was ${response.statusCode}`)
  response.resume()
}

/** Creates an upload with 4 GiB. The part file has a hole, because its length is the progress. */
async function createFar() {
  const { id } = await append(await load(await create(0)))
  await truncate(store.paths?.(await load(id)).upload ?? '', 4 * GiB)
  if ((await load(id)).received !== 4 * GiB) throw new Error('The part file is not 4 GiB long')
  return id
}

async function work() {
  const upload = bitsUpload({ store, maxSessions: Number.POSITIVE_INFINITY })
  const server = createServer(express().use('/files', upload)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const startUp = performance.now()
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const first = await timed(() => createOverHttp(port))
  // Create-Session began a sweep, and this one waits for its end: the time of two sweeps.
  const sweep = (first + (await timed(() => upload.sweep()))) / 2
  const list = await timed(() => exhaust(store.list()))
  const creating = await timed(async () => {
    for (let i = 0; i < Repetitions; i += 1) await create(0)
  }, Repetitions)
  const fragments = async (/** @type {string} */ id) => timed(() => receive(id), Repetitions)
  const durableFragments = async (/** @type {string} */ id) =>
    timed(() => receive(id, JournalRepetitions, durableStore), JournalRepetitions)
  return {
    startUp,
    first,
    create: creating,
    fragment: await fragments(await create(0)),
    far: await fragments(await createFar()),
    old: await fragments(await createOld()),
    durable: await durableFragments(await create(0, durableStore)),
    oldDurable: await durableFragments(await createOld(durableStore)),
    list,
    sweep,
  }
}

process.on('disconnect', () => process.exit())
const result = task === 'fill' ? await fill(Number(count)) : await work()
console.log(JSON.stringify(result))
