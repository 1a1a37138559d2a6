import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { appendFile, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import express, { type RequestHandler } from 'express'
import { describe, expect, it } from 'vitest'
import { BitsError, type MemoryStore, memoryStore } from '../../../lib/index.ts'
import { noise } from '../../support/bytes.ts'
import { type Answer, answerTo, begin, send, TestClient } from '../../support/client.ts'
import { temporaryDirectory } from '../../support/directory.ts'
import { later } from '../../support/later.ts'
import { withResolvers } from '../../support/promise.ts'
import { BG_E_SESSION_NOT_FOUND, E_ACCESSDENIED, E_INVALIDARG, expectAck } from '../acks.ts'
import { MeteredDisk, partOf, published, sessionFiles } from '../disk.ts'
import { all, next, oddFragment, session, sessionOn, start, type Upload } from '../setting.ts'

const file = noise(300)
const Unknown = '{11111111-2222-3333-4444-555555555555}'

const fileIn = (directory: string): Promise<Buffer> => readFile(join(directory, 'a.bin'))

/** A session that holds the first 100 of 300 bytes. */
async function midUpload(setup: Parameters<typeof session>[0] = {}): Promise<Upload> {
  const upload = await session(setup)
  expectAck(await upload.client.fragment(0, file.subarray(0, 100), 300), 200, { received: 100 })
  return upload
}

/** A session whose last fragment was acknowledged. */
async function complete(setup: Parameters<typeof session>[0] = {}): Promise<Upload> {
  const upload = await session(setup)
  const answer = await upload.client.fragment(0, file, 300)
  expectAck(answer, 200, { sessionId: upload.id, received: 300 })
  return upload
}

/** Expects that the server no longer knows the session, and that no files of it remain. */
async function expectRemoved({ client, id, directory }: Upload): Promise<void> {
  const answers = [
    await client.fragment(0, file, 300),
    await client.fragment(100, file.subarray(100), 300),
    await client.close(),
    await client.cancel(),
  ]
  for (const answer of answers) {
    expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, sessionId: id, received: null })
  }
  expect(await sessionFiles(directory)).toEqual([])
}

describe('Upload completion', () => {
  it('75: publishes the full content before the Ack of the last fragment is sent', async () => {
    const directory = await temporaryDirectory()
    const path = join(directory, 'a.bin')
    const seen: (Buffer | undefined)[] = []
    // Reads the file just before the first byte of an Ack is sent.
    const readFileFirst: RequestHandler = (_request, response, next) => {
      const { writeHead } = response
      response.writeHead = (...args: unknown[]) => {
        seen.push(existsSync(path) ? readFileSync(path) : undefined)
        return Reflect.apply(writeHead, response, args)
      }
      next()
    }
    const { client } = await session({ directory, before: [readFileFirst] })
    expectAck(await client.fragment(0, file.subarray(0, 299), 300), 200, { received: 299 })
    expectAck(await client.fragment(299, file.subarray(299), 300), 200, { received: 300 })
    expect(seen).toEqual([undefined, undefined, file])
  })

  it("76: publishes the file only at Close-Session with commitOn: 'close'", async () => {
    const { upload, client, directory, id } = await session({ commitOn: 'close' })
    const uploaded = all(upload, 'uploaded')
    expectAck(await client.fragment(0, file.subarray(0, 100), 300), 200, { received: 100 })
    expectAck(await client.fragment(100, file.subarray(100), 300), 200, { sessionId: id, received: 300 })
    expect(await published(directory)).toEqual([])
    expectAck(await client.ping(), 200)
    expectAck(await client.fragment(100, file.subarray(100), 300), 200, { sessionId: id, received: 300 })
    expect(await published(directory)).toEqual([])
    expect(uploaded).toEqual([])

    expectAck(await client.close(), 200, { sessionId: id })
    expect(await fileIn(directory)).toEqual(file)
    expect(await published(directory)).toEqual(['a.bin'])
    expect(await sessionFiles(directory)).toEqual([])
    expect(uploaded).toHaveLength(1)
  })

  it("76: publishes no file after Cancel-Session with commitOn: 'close'", async () => {
    const upload = await complete({ commitOn: 'close' })
    expectAck(await upload.client.cancel(), 200, { sessionId: upload.id })
    expect(await published(upload.directory)).toEqual([])
    await expectRemoved(upload)
  })

  it('77: shows no partial data to a GET of the destination before the upload is complete', async () => {
    for (const old of [undefined, Buffer.from('old')]) {
      const disk = new MeteredDisk()
      const directory = await temporaryDirectory()
      if (old) await writeFile(join(directory, 'a.bin'), old)
      const setup = { directory, fileSystem: disk.fileSystem, overwrite: old !== undefined }
      const { client } = await session({ ...setup, after: [express.static(directory)] })
      const expectToGet = async (content: Buffer | undefined): Promise<void> => {
        const { status, body } = await send(client.url, undefined, { method: 'GET' })
        expect([status, content ? body : undefined]).toEqual([content ? 200 : 404, content])
      }
      await expectToGet(old)
      await client.fragment(0, file.subarray(0, 100), 300)
      await expectToGet(old)

      // Half of the last fragment has been written to disk.
      const outgoing = begin(client.url, 'Fragment', { headers: client.range(100, 200, 300) })
      const answer = answerTo(outgoing)
      outgoing.write(file.subarray(100, 200))
      await disk.holds(200)
      await expectToGet(old)
      outgoing.end(file.subarray(200))
      expectAck(await answer, 200, { received: 300 })
      await expectToGet(file)
      expectAck(await client.close(), 200)
      await expectToGet(file)
    }
  })

  describe('78: repeated last fragment', () => {
    const last = (client: TestClient): Promise<Answer> => client.fragment(200, file.subarray(200), 300)

    it('78: returns the same 200 and does not publish again', async () => {
      let calls = 0
      const server = await session({ onUpload: () => void calls++ })
      const { upload, client, directory, id } = server
      const uploaded = all(upload, 'uploaded')
      await client.fragment(0, file.subarray(0, 200), 300)
      const first = await last(client)
      expectAck(first, 200, { sessionId: id, received: 300 })
      const { ino, mtimeMs } = await stat(join(directory, 'a.bin'))

      for (const answer of [await last(client), await last(client), await client.fragment(0, file, 300)]) {
        expectAck(answer, 200, { sessionId: id, received: 300 })
        expect(answer.headers['bits-reply-url']).toBe(first.headers['bits-reply-url'])
      }
      expect(await stat(join(directory, 'a.bin'))).toMatchObject({ ino, mtimeMs })
      expect(await published(directory)).toEqual(['a.bin'])
      expect(uploaded).toHaveLength(1)
      expect(calls).toBe(1)
      expectAck(await client.close(), 200, { sessionId: id })
    })

    it('78: does not restore a file that was moved away, and keeps another file in its place', async () => {
      const { client, directory, id } = await complete({ overwrite: true })
      const path = join(directory, 'a.bin')
      await rename(path, join(directory, 'taken.bin'))
      expectAck(await last(client), 200, { sessionId: id, received: 300 })
      expect(await published(directory)).toEqual(['taken.bin'])
      await writeFile(path, 'another')
      expectAck(await last(client), 200, { sessionId: id, received: 300 })
      expectAck(await client.close(), 200, { sessionId: id })
      expect(await readFile(path, 'utf8')).toBe('another')
    })

    it('78: returns 200 and does not publish again after a server restart', async () => {
      const { upload, directory, id } = await complete()
      await upload.close()
      const after = await start({ directory })
      const uploaded = all(after.upload, 'uploaded')
      const client = new TestClient(new URL('a.bin', after.url))
      client.sessionId = id
      expectAck(await last(client), 200, { sessionId: id, received: 300 })
      expectAck(await client.close(), 200, { sessionId: id })
      expect(uploaded).toEqual([])
      expect(await published(directory)).toEqual(['a.bin'])
    })
  })

  it('79: returns 403 to the last fragment and keeps the file when it was created meanwhile', async () => {
    const { client, directory, id } = await midUpload()
    const path = join(directory, 'a.bin')
    await writeFile(path, 'theirs')
    for (const first of [100, 200]) {
      const answer = await client.fragment(first, file.subarray(first), 300)
      expectAck(answer, 403, { error: E_ACCESSDENIED, sessionId: id, received: 300 })
      expect(await readFile(path, 'utf8')).toBe('theirs')
    }
    expectAck(await client.close(), 200, { sessionId: id })
    expect(await readFile(path, 'utf8')).toBe('theirs')
    expect(await published(directory)).toEqual(['a.bin'])
    expect(await sessionFiles(directory)).toEqual([])
  })

  it("79: returns 403 to Close-Session when the file exists with commitOn: 'close'", async () => {
    const { client, directory, id } = await complete({ commitOn: 'close' })
    await writeFile(join(directory, 'a.bin'), 'theirs')
    expectAck(await client.close(), 403, { error: E_ACCESSDENIED, sessionId: id })
    expect(await readFile(join(directory, 'a.bin'), 'utf8')).toBe('theirs')
    expect(await published(directory)).toEqual(['a.bin'])
  })

  it('79: returns 403 to the second of two uploads to one destination', async () => {
    const server = await start()
    const [one, other] = [await sessionOn(server), await sessionOn(server)]
    expectAck(await one.fragment(0, file, 300), 200, { received: 300 })
    const answer = await other.fragment(0, noise(300, 2), 300)
    expectAck(answer, 403, { error: E_ACCESSDENIED, received: 300 })
    expect(await fileIn(server.directory)).toEqual(file)
  })

  it('80: returns 200 to Close-Session of a complete session and deletes the session', async () => {
    const upload = await complete()
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect(await fileIn(upload.directory)).toEqual(file)
    await expectRemoved(upload)
    expect(await published(upload.directory)).toEqual(['a.bin'])
    expect(await fileIn(upload.directory)).toEqual(file)
  })

  it('81: returns 200 to an early Close-Session, deletes the session and publishes no file', async () => {
    for (const commitOn of ['last-fragment', 'close'] as const) {
      const upload = await midUpload({ commitOn })
      expect(existsSync(partOf(upload.directory, upload.id))).toBe(true)
      expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
      expect(await published(upload.directory)).toEqual([])
      await expectRemoved(upload)
    }
  })

  it('82: returns 404 to Close-Session after the data file was deleted externally', async () => {
    for (const upload of [await midUpload(), await complete({ commitOn: 'close' })]) {
      await rm(partOf(upload.directory, upload.id))
      expectAck(await upload.client.close(), 404, { sessionId: upload.id })
      expect(await published(upload.directory)).toEqual([])
      await expectRemoved(upload)
    }
  })

  it('82: returns 416 and offset 0 to a fragment after the data file was deleted externally', async () => {
    const { client, directory, id } = await midUpload()
    await rm(partOf(directory, id))
    later()
    const answer = await client.fragment(100, file.subarray(100), 300)
    expectAck(answer, 416, { sessionId: id, received: 0 })
    expectAck(await client.fragment(0, file, 300), 200, { sessionId: id, received: 300 })
    expect(await fileIn(directory)).toEqual(file)
    expectAck(await client.close(), 200, { sessionId: id })
  })

  it('83: returns 500 0x8020001F to Close-Session with an unknown id', async () => {
    const { client, directory, id } = await midUpload()
    client.sessionId = Unknown
    const answer = await client.close()
    expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, sessionId: Unknown, received: null })
    expect(await sessionFiles(directory)).toEqual([`${id}.json`, `${id}.part`])
  })

  it('84: returns 200 to Cancel-Session during an upload and deletes the session', async () => {
    const upload = await midUpload()
    expectAck(await upload.client.cancel(), 200, { sessionId: upload.id, received: null })
    expect(await published(upload.directory)).toEqual([])
    await expectRemoved(upload)
  })

  it('84: interrupts a fragment with 416 at Cancel-Session and deletes the session', async () => {
    const disk = new MeteredDisk()
    const upload = await midUpload({ fileSystem: disk.fileSystem })
    const { client } = upload
    const { agent } = new TestClient(client.url)
    const outgoing = begin(client.url, 'Fragment', { agent, headers: client.range(100, 200, 300) })
    const answer = answerTo(outgoing)
    outgoing.write(file.subarray(100, 150))
    await disk.holds(150)
    expectAck(await client.cancel(), 200, { sessionId: upload.id })
    outgoing.end(file.subarray(150))
    expectAck(await answer, 416, { received: 150 })
    expect(await published(upload.directory)).toEqual([])
    await expectRemoved(upload)
  })

  it('85: returns 200 to Cancel-Session after the last fragment and keeps the file', async () => {
    const upload = await complete()
    expectAck(await upload.client.cancel(), 200, { sessionId: upload.id, received: null })
    await expectRemoved(upload)
    expect(await published(upload.directory)).toEqual(['a.bin'])
    expect(await fileIn(upload.directory)).toEqual(file)
  })

  it('86: returns 500 0x8020001F to Cancel-Session with an unknown id', async () => {
    const { client, directory, id } = await midUpload()
    client.sessionId = Unknown
    const answer = await client.cancel()
    expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, sessionId: Unknown, received: null })
    expect(await sessionFiles(directory)).toEqual([`${id}.json`, `${id}.part`])
  })

  it('87: returns 500 0x8020001F to a fragment after Close-Session', async () => {
    const { client, directory, id } = await complete()
    expectAck(await client.close(), 200)
    for (const answer of [
      await client.fragment(200, file.subarray(200), 300),
      await client.fragment(0, file, 300),
    ]) {
      expectAck(answer, 500, { error: BG_E_SESSION_NOT_FOUND, sessionId: id, received: null })
    }
    expect(await sessionFiles(directory)).toEqual([])
    expect(await fileIn(directory)).toEqual(file)
  })

  it('88: publishes an empty file at Close-Session without a fragment, with hooks and events', async () => {
    for (const commitOn of ['last-fragment', 'close'] as const) {
      const sizes: number[] = []
      const upload = await session({ commitOn, onUpload: ({ size }) => void sizes.push(size) })
      const events: string[] = []
      for (const event of ['received', 'uploaded', 'closed'] as const) {
        upload.upload.events.on(event, () => events.push(event))
      }
      expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
      expect((await fileIn(upload.directory)).length).toBe(0)
      expect([sizes, events]).toEqual([[0], ['received', 'uploaded', 'closed']])
      await expectRemoved(upload)
    }
  })

  it('88: does not replace a file by an empty one without overwrite', async () => {
    const upload = await session()
    await writeFile(join(upload.directory, 'a.bin'), 'older')
    expectAck(await upload.client.close(), 403, { error: E_ACCESSDENIED, sessionId: upload.id })
    expect(String(await fileIn(upload.directory))).toBe('older')
  })

  it('88: publishes the empty file when Close-Session is repeated after a failed onUpload', async () => {
    let failures = 1
    const onUpload = (): void => {
      if (failures-- > 0) throw new Error('not now')
    }
    const upload = await session({ onUpload })
    expectAck(await upload.client.close(), 500, { sessionId: upload.id, context: '0x7', error: '0x801901F4' })
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect((await fileIn(upload.directory)).length).toBe(0)
  })

  it('88: publishes the empty file if a crash prevented its data file', async () => {
    const upload = await session()
    // The journal entry that precedes the creation of the data file.
    const journal = join(upload.directory, '.bits-sessions', `${upload.id}.json`)
    await appendFile(journal, '\n{"total":0}\n')
    later(1001)
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect((await fileIn(upload.directory)).length).toBe(0)
  })

  it('88: publishes no empty file when onUpload returns publish: false', async () => {
    const upload = await session({ onUpload: () => ({ publish: false }) })
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect(await published(upload.directory)).toEqual([])
    await expectRemoved(upload)
  })

  it('88: replaces a file by an empty one with overwrite, under the name that onCreate returns', async () => {
    const upload = await session({ overwrite: true, onCreate: () => ({ name: 'b.bin' }) })
    await writeFile(join(upload.directory, 'b.bin'), 'older')
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect(await published(upload.directory)).toEqual(['b.bin'])
    expect((await readFile(join(upload.directory, 'b.bin'))).length).toBe(0)
  })

  it('88: saves the reply of onUpload to an empty file, and removes it with the session', async () => {
    const upload = await session({ onUpload: () => 'reply' })
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect((await fileIn(upload.directory)).length).toBe(0)
    await expectRemoved(upload)
  })

  it('88: returns 403 when onUpload rejects the empty file, publishes nothing and does not call it again', async () => {
    let calls = 0
    const onUpload = (): never => {
      calls += 1
      throw new BitsError('application-refused')
    }
    const upload = await session({ onUpload })
    const refused = { sessionId: upload.id, context: '0x7', error: E_ACCESSDENIED } as const
    expectAck(await upload.client.close(), 403, refused)
    expect([calls, await published(upload.directory)]).toEqual([1, []])
    expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
    expect([calls, await published(upload.directory)]).toEqual([1, []])
    await expectRemoved(upload)
  })

  describe('88: fragment that ended before its first byte', () => {
    /** Sends the head of a fragment of 300 bytes. */
    async function begun(upload: Upload) {
      const { client } = upload
      const outgoing = begin(client.url, 'Fragment', { headers: client.range(0, 300, 300) })
      outgoing.on('error', () => {}).flushHeaders()
      await once(outgoing, 'socket')
      return outgoing
    }

    const stores: [string, () => MemoryStore | undefined][] = [
      ['file store', () => undefined],
      ['memory store', memoryStore],
    ]

    it.each(stores)('88: publishes no empty file at Close-Session: %s', async (_, create) => {
      const store = create()
      const upload = await session(store && { store })
      const interrupted = next(upload.upload, 'interrupted')
      const outgoing = await begun(upload)
      outgoing.socket?.end()
      await interrupted
      expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
      expect([await published(upload.directory), store?.files.size ?? 0]).toEqual([[], 0])
    })

    it.each(stores)('88: publishes no empty file if Close-Session interrupts it: %s', async (_, create) => {
      const store = create()
      const isRunning = withResolvers<void>()
      const authorize = (_: unknown, { type }: { readonly type: string }): undefined => {
        if (type === 'Fragment') setImmediate(isRunning.resolve)
      }
      const upload = await session({ authorize, ...(store && { store }) })
      const outgoing = await begun(upload)
      const answer = answerTo(outgoing)
      await isRunning.promise
      expectAck(await upload.client.close(), 200, { sessionId: upload.id, received: null })
      outgoing.end(file)
      expect((await answer).status).toBe(416)
      expect([await published(upload.directory), store?.files.size ?? 0]).toEqual([[], 0])
    })

    it('88: can be sent again', async () => {
      const upload = await session()
      const interrupted = next(upload.upload, 'interrupted')
      const outgoing = await begun(upload)
      outgoing.socket?.end()
      await interrupted
      expectAck(await upload.client.fragment(0, file, 300), 200, { received: 300 })
      expect(await fileIn(upload.directory)).toEqual(file)
    })
  })

  it('88: publishes no empty file at Cancel-Session', async () => {
    const upload = await session()
    expectAck(await upload.client.cancel(), 200, { sessionId: upload.id, received: null })
    expect(await published(upload.directory)).toEqual([])
    await expectRemoved(upload)
  })

  describe('89: empty file', () => {
    const forms = ['bytes */0', 'bytes 0-0/0', 'bytes 0--1/0', undefined]

    for (const form of forms) {
      const empty = (client: TestClient): Promise<Answer> =>
        oddFragment(client, form === undefined ? {} : { 'Content-Range': form }, new Uint8Array())

      it(`89: publishes an empty file and returns 200 for ${form ?? 'no Content-Range'}`, async () => {
        const { client, directory, id } = await session()
        expectAck(await empty(client), 200, { sessionId: id, received: 0 })
        expect((await fileIn(directory)).length).toBe(0)
        // The repetition of a last fragment.
        expectAck(await empty(client), 200, { sessionId: id, received: 0 })
        expectAck(await client.close(), 200, { sessionId: id })
        expect(await published(directory)).toEqual(['a.bin'])
        expect(await sessionFiles(directory)).toEqual([])
      })

      it(`89: returns 400 for ${form ?? 'no Content-Range'} after bytes were received`, async () => {
        const { client, directory, id } = await midUpload()
        expectAck(await empty(client), 400, { error: E_INVALIDARG })
        expect(await published(directory)).toEqual([])
        expectAck(await client.fragment(100, file.subarray(100), 300), 200, { sessionId: id, received: 300 })
        expect(await fileIn(directory)).toEqual(file)
      })
    }

    it('89: returns 400 for each form with a body', async () => {
      for (const form of forms) {
        const { client, directory, id } = await session()
        const headers = form === undefined ? {} : { 'Content-Range': form }
        expectAck(await oddFragment(client, headers, noise(1)), 400, { error: E_INVALIDARG })
        expect(await published(directory)).toEqual([])
        expect(await sessionFiles(directory)).toEqual([`${id}.json`])
      }
    })

    it("89: publishes the empty file at Close-Session with commitOn: 'close'", async () => {
      const { client, directory, id } = await session({ commitOn: 'close' })
      expectAck(await oddFragment(client, { 'Content-Range': 'bytes */0' }, new Uint8Array()), 200, {
        received: 0,
      })
      expect(await published(directory)).toEqual([])
      expectAck(await client.close(), 200, { sessionId: id })
      expect((await fileIn(directory)).length).toBe(0)
    })
  })
})
