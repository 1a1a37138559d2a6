/** The page examples/frameworks/README.md: its list of programs and its advice on time limits. */
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it } from 'vitest'
import { bitsUpload, memoryStore } from '../../lib/index.ts'
import { root } from '../package/package.ts'
import { code, readPage, rows } from '../package/page.ts'
import { send } from '../support/client.ts'
import { listen } from '../support/server.ts'

const folder = join(root, 'examples/frameworks')
const page = readPage('examples/frameworks/README.md')
const programs = [...readdirSync(folder).filter((name) => /\.(?:mjs|ts)$/.test(name)), 'next/server.mjs']
const sourceOf = (program: string) => readFileSync(join(folder, program), 'utf8')

describe('examples/frameworks/README.md', () => {
  it('lists every program once', () => {
    const [table = ''] = page.section('Programs').split('### ')
    const listed = rows(table).map(([, program = '']) => /^\[(.*)\]\(\1\)$/.exec(program)?.[1])
    expect(listed.sort()).toEqual([...programs].sort())
  })

  it('lists the time limits that the programs set', () => {
    const milliseconds = rows(page.section('Time limits')).map(([setting, , limit]) => [
      code(setting),
      Number.parseInt(limit ?? '', 10) * 1000,
    ])
    for (const program of programs) {
      const set = [...sourceOf(program).matchAll(/^ *server\.(\w+) = ([\d_]+)$/gm)].map(
        ([, setting, limit = '']) => [setting, Number(limit.replace('_', ''))],
      )
      expect(set, program).toEqual(milliseconds.slice(0, 3))
    }
  })

  it('says how an app accepts header fields of 48 KB, which is so', async () => {
    expect(page.section('Time limits')).toContain('`createServer({ maxHeaderSize: 65_536 }, app)`')
    const app = express().use('/upload', bitsUpload({ store: memoryStore() }))
    const headers = { Authorization: `Negotiate ${'x'.repeat(48 * 1024)}` }
    const statusOf = async (server: Server) => {
      const url = await listen(server)
      return (await send(new URL('upload/a.bin', url), 'Ping', { headers })).status
    }
    expect(await statusOf(createServer(app))).toBe(431)
    expect(await statusOf(createServer({ maxHeaderSize: 65_536 }, app))).toBe(200)
  })
})
