import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RequestHandler } from 'express'
import { expect, it } from 'vitest'
import { blocks, readPage } from '../package/page.ts'
import { send } from '../support/client.ts'
import { describeHaproxy } from '../support/haproxy.ts'
import { sessionOn } from '../wire/setting.ts'
import {
  clientSeenByHook,
  closedWhenIdle,
  expectTokenRefused,
  file,
  sendToFailingServer,
  startBehind,
  statusOfPausedFragment,
  statusWithoutDecision,
  without,
} from './fixture.ts'
import { directives, haproxyExample as example } from './haproxy-config.ts'
import { describeDirectives, describeExample } from './proxy-suite.ts'

describeExample(example)

describeDirectives(example, directives, {
  'tune.bufsize 65536': (directive) => expectTokenRefused(example, without(directive, 'tune.bufsize 16384')),

  async 'timeout connect 5s'(directive) {
    const { program } = await startBehind(example, without(directive))
    await program.says(/missing timeouts for backend 'uploads'/)
  },

  'timeout client 5m': (directive) => closedWhenIdle(example, without(directive, 'timeout client 1s')),

  // Longer than Create-Session takes on a busy machine.
  async 'timeout server 5m'(directive) {
    const short = without(directive, 'timeout server 2s')
    expect(await statusWithoutDecision(example, short)).toBe(504)
    expect(await statusOfPausedFragment(example, short)).toBe(504)
  },

  async 'option forwardfor'(directive) {
    expect(await clientSeenByHook(example, without(directive))).toMatchObject({ ips: [] })
  },

  async 'http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]'(directive) {
    expect(await clientSeenByHook(example, without(directive))).toMatchObject({ protocol: 'http' })
  },
})

describeHaproxy('HAProxy', () => {
  it('repeats a packet with retry-on and option redispatch', async () => {
    const repeated = {
      change: (config: string) =>
        config.replace('\nbackend uploads', '$&\n  retry-on all-retryable-errors\n  option redispatch 1'),
    }
    expect(await sendToFailingServer(example, 'BITS_POST', repeated)).toEqual({
      status: 200,
      servers: ['failing', 'next'],
    })
  })

  it('changes packets to POST with X-HTTP-Method-Override by the lines of the page', async () => {
    const [lines = ''] = blocks(
      readPage('examples/proxies/README.md').section('A proxy that refuses unknown methods'),
      'haproxy',
    )
    const seen = new Set<string>()
    const record: RequestHandler = ({ method, headers }, _, next) => {
      seen.add(`${method} ${headers['x-http-method-override']}`)
      next()
    }
    const { url, directory } = await startBehind(example, {
      before: [record],
      change: (config) => config.replace('  option forwardfor', `${lines}$&`),
      options: { onUpload: () => ({ reply: 'text' }) },
    })
    const client = await sessionOn({ url })
    const answer = await client.fragment(0, file, file.length)
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    const reply = await fetch(new URL(String(answer.headers['bits-reply-url']), url))
    expect(await reply.text()).toBe('text')
    expect((await client.close()).status).toBe(200)
    expect([...seen]).toEqual(['POST BITS_POST', 'GET undefined'])
  })

  it('denies requests with 503', async () => {
    const { url } = await startBehind(example, {
      change: (config) => config.replace('  option forwardfor', '  http-request deny deny_status 503\n$&'),
    })
    expect((await send(url, 'Ping')).status).toBe(503)
  })
})
