import { readFile } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { fileURLToPath } from 'node:url'
import { globSync } from 'tinyglobby'
import { expect, it } from 'vitest'
import { folder } from './start.ts'

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

it('Examples: each one is named, together with its folder, in a file of test/', async () => {
  const files = globSync('**/*.ts', { cwd: fileURLToPath(new URL('..', import.meta.url)), absolute: true })
  const sources = await Promise.all(files.map((path) => readFile(path, 'utf8')))
  const named = programs.filter((path) => !path.startsWith('frameworks/'))
  expect(named.length).toBeGreaterThan(0)
  const missing = named.filter((path) => {
    const { dir, name } = parse(path)
    const pattern = new RegExp(`['/]${name}['.]`)
    return !sources.some((source) => source.includes(`${dir}/`) && pattern.test(source))
  })
  expect(missing).toEqual([])
})
