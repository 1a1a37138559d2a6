import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { hresult, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { Program } from './program.ts'
import { TlsClient, uploadFile } from './upload.ts'

const folder = fileURLToPath(new URL('../../examples', import.meta.url))
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

/** An example that runs in an empty directory, where it puts its files. */
async function start(name: string, ...args: string[]): Promise<{ example: Program; directory: string }> {
  const directory = await temporaryDirectory()
  const command = [process.execPath, '--import', tsx, join(folder, `${name}.ts`)] as const
  return { example: new Program([...command], { cwd: directory, args }), directory }
}

const file = noise(30_000)

it.each(['express5', 'express4', 'connect'])('%s.ts takes a file', async (name) => {
  const { example, directory } = await start(name)
  await uploadFile(new TestClient(new URL('a.bin', await example.url())), file)
  expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
})

it('https.ts takes a file', async () => {
  const { example, directory } = await start('https')
  const url = await example.url()
  expect(url.protocol).toBe('https:')
  await uploadFile(new TlsClient(new URL('a.bin', url)), file)
  expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
})

it('memory.ts takes a file and gives it back', async () => {
  const { example } = await start('memory')
  const url = new URL('a.bin', await example.url())
  expect((await fetch(url)).status).toBe(404)
  await uploadFile(new TestClient(url), file)
  const answer = await fetch(url)
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(file)
  expect(answer.headers.get('content-type')).toBe('application/octet-stream')
})

describe('authentication.ts', () => {
  const basic = (credentials: string) => ({
    Authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
  })

  it('takes a file of who knows a password', async () => {
    const { example, directory } = await start('authentication')
    const url = new URL('a.bin', await example.url())
    await uploadFile(new TestClient(url, basic('alice:open sesame')), file)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
  })

  it('asks everybody else for credentials', async () => {
    const { example } = await start('authentication')
    const url = new URL('a.bin', await example.url())
    const wrong = ['alice:', 'alice:knock knock', 'carol:', ':', 'alice'].map(basic)
    for (const headers of [{}, { Authorization: 'Bearer x' }, ...wrong]) {
      const answer = await new TestClient(url, headers).create()
      expect(answer.status).toBe(401)
      expect(answer.headers['www-authenticate']).toBe('Basic realm="uploads"')
    }
  })

  it('keeps sessions to their users', async () => {
    const { example } = await start('authentication')
    const url = new URL('a.bin', await example.url())
    const alice = new TestClient(url, basic('alice:open sesame'))
    await alice.create()
    const bob = new TestClient(url, basic('bob:knock knock'))
    bob.sessionId = alice.sessionId
    expect(hresult(await bob.fragment(0, file, file.length))).toBe('0x8020001F')
    expect((await alice.fragment(0, file, file.length)).status).toBe(200)
  })
})

it('every example is tried here', async () => {
  const names = readdirSync(folder).filter((name) => !name.endsWith('.d.ts'))
  const source = await readFile(fileURLToPath(import.meta.url), 'utf8')
  for (const name of names) expect(source).toContain(`'${name.replace(/\.ts$/, '')}'`)
})
