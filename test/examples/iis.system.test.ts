import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { uploadFile as upload } from '../../lib/client/index.ts'
import { noise } from '../support/bytes.ts'
import { hresult, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { application } from '../wire/application.ts'
import { start, startWith } from './start.ts'
import { uploadFile } from './upload.ts'

const file = noise(30_000)

describe('moved.ts', () => {
  it('replaces an existing file, and keeps sessions in their own directory', async () => {
    const { example, directory } = await start('iis/moved')
    const client = new TestClient(new URL('a.bin', await example.url()))
    await uploadFile(client, noise(30_000, 2))
    expect((await client.create()).status).toBe(200)
    await client.fragment(0, file.subarray(0, 10_000), file.length)
    expect((await readdir(join(directory, 'upload-sessions'))).join()).toContain(client.sessionId)
    expect(await readdir(join(directory, 'upload'))).toEqual(['a.bin'])
    await client.fragment(10_000, file.subarray(10_000), file.length)
    expect(await readFile(join(directory, 'upload/a.bin'))).toEqual(file)
  })

  it('receives at most 4 GiB', async () => {
    const { example } = await start('iis/moved')
    const client = new TestClient(new URL('a.bin', await example.url()))
    await client.create()
    expect((await client.fragment(0, file, 2 ** 32)).status).toBe(200)
    await client.create()
    expect(hresult(await client.fragment(0, file, 2 ** 32 + 1))).toBe('0x80200020')
  })
})

describe('server-application.ts', () => {
  const DataFile = 'bits-request-datafile-name'
  const ReplyFile = 'bits-response-datafile-name'

  /** Starts the example with one application for both directories, which publishes what it is sent. */
  async function startWithApplication() {
    const received: { mode: string; body: Buffer }[] = []
    const { url } = await application(async (response, { target, headers, body }) => {
      const isReference = headers[DataFile] !== undefined
      received.push(
        isReference
          ? { mode: 'reference', body: await readFile(String(headers[DataFile])) }
          : { mode: 'value', body },
      )
      response.setHeader('BITS-Copy-File-To-Destination', '1')
      if (isReference) await writeFile(String(headers[ReplyFile]), `reply to ${target}`)
      response.end(isReference ? '' : `reply to ${target}`)
    })
    const directory = await temporaryDirectory()
    const env = {
      ORDERS_URL: new URL('/orders.asp', url).href,
      QUESTIONS_URL: new URL('/questions.asp', url).href,
    }
    const example = startWith(env, directory, 'iis/server-application')
    const [printed] = await example.says(/http:\S+\/orders\//)
    const base = new URL(printed)
    base.hostname = '127.0.0.1'
    return { directory, base, received }
  }

  it.each([
    ['orders', 'reference'],
    ['questions', 'value'],
  ])('/%s: the application gets the upload by %s, and the client its reply', async (path, mode) => {
    const { directory, base, received } = await startWithApplication()
    const { reply } = await upload(file, new URL(`/${path}/a.bin`, base))
    expect(received).toEqual([{ mode, body: file }])
    expect(String(reply?.data)).toBe(`reply to /${path}.asp`)
    expect(await readFile(join(directory, path, 'a.bin'))).toEqual(file)
  })
})
