import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { TestClient } from '../support/client.ts'
import { folder, start } from './start.ts'
import { TlsClient, uploadFile } from './upload.ts'

const file = noise(30_000)

it.each(['express5', 'express4', 'connect'])('%s.ts: receives a file', async (name) => {
  const { example, directory } = await start(name)
  await uploadFile(new TestClient(new URL('a.bin', await example.url())), file)
  expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
})

it('https.ts: receives a file over HTTPS', async () => {
  const { example, directory } = await start('https')
  const url = await example.url()
  expect(url.protocol).toBe('https:')
  await uploadFile(new TlsClient(new URL('a.bin', url)), file)
  expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
})

it('memory.ts: receives a file and returns it to a GET', async () => {
  const { example } = await start('memory')
  const url = new URL('a.bin', await example.url())
  expect((await fetch(url)).status).toBe(404)
  await uploadFile(new TestClient(url), file)
  const answer = await fetch(url)
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(file)
  expect(answer.headers.get('content-type')).toBe('application/octet-stream')
})

it('Examples: each server keeps idle connections longer than load balancers do', async () => {
  const names = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  const sources = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  const servers = sources.filter((source) => source.includes('.listen('))
  expect(servers.length).toBeGreaterThan(8)
  for (const source of servers) {
    const [, idle = ''] = /^server\.keepAliveTimeout = (\w+)$/m.exec(source) ?? []
    const [, head = ''] = /^server\.headersTimeout = (\w+)$/m.exec(source) ?? []
    expect(idle).toBe('125_000')
    expect(Number(head.replace('_', ''))).toBeGreaterThan(125_000)
  }
})

it('Examples: each one is named in a test of test/examples or test/farm', async () => {
  const names = readdirSync(folder).filter((name) => !name.endsWith('.d.ts'))
  const sources: string[] = []
  for (const place of ['.', '../farm']) {
    const here = fileURLToPath(new URL(place, import.meta.url))
    const files = readdirSync(here).filter((name) => name.endsWith('.test.ts'))
    sources.push(...(await Promise.all(files.map((name) => readFile(join(here, name), 'utf8')))))
  }
  for (const name of names) expect(sources.join()).toContain(`'${name.replace(/\.ts$/, '')}'`)
})
