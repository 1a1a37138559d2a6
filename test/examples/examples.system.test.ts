import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { globSync } from 'tinyglobby'
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

/** The paths of all example programs, below `examples`. Those in `frameworks` have a test of their own. */
const programs = globSync('**/*.{mjs,ts}', {
  cwd: folder,
  ignore: ['**/*.d.ts', '**/node_modules'],
}).sort()

it('Examples: each server keeps idle connections longer than load balancers do', async () => {
  const sources = await Promise.all(programs.map((path) => readFile(join(folder, path), 'utf8')))
  const servers = sources.filter((source) => source.includes('.listen('))
  expect(servers.length).toBeGreaterThan(8)
  for (const source of servers) {
    const [, idle = ''] = /^ *server\.keepAliveTimeout = (\w+)$/m.exec(source) ?? []
    const [, head = ''] = /^ *server\.headersTimeout = (\w+)$/m.exec(source) ?? []
    expect(idle).toBe('125_000')
    expect(Number(head.replace('_', ''))).toBeGreaterThan(125_000)
  }
})

it('Examples: each one is named in a test', async () => {
  const files = globSync('**/*.test.ts', {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    absolute: true,
  })
  const sources = (await Promise.all(files.map((path) => readFile(path, 'utf8')))).join()
  const named = programs.filter((path) => !path.startsWith('frameworks/'))
  expect(named.length).toBeGreaterThan(0)
  for (const path of named) expect(sources).toContain(`'${path.replace(/\.(?:mjs|ts)$/, '')}'`)
})
