import { expect, it } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received, send } from '../support/client.ts'
import { describeNginx, startNginx } from '../support/nginx.ts'
import { sessionOn } from '../wire/setting.ts'
import {
  beginFragment,
  clientSeenByHook,
  expectTokenRefused,
  type Framing,
  file,
  half,
  sendToFailingServer,
  startBehind,
  statusOfPausedFragment,
  statusWithoutDecision,
  token,
  without,
} from './fixture.ts'
import { directives, nginxExample as example } from './nginx-config.ts'
import { exampleConfig, type StartOptions } from './proxy-example.ts'
import { describeDirectives, describeExample } from './proxy-suite.ts'

describeExample(example)

/** Expects that the server stores no byte of a fragment that the client aborts. */
async function expectNothingStored(options: StartOptions, framing: Framing): Promise<void> {
  const { url, program, seen } = await startBehind(example, options)
  const client = await sessionOn({ url })
  const { outgoing } = beginFragment(client, framing)
  await new Promise<void>((resolve) => outgoing.write(file.subarray(0, half), () => resolve()))
  outgoing.destroy()
  await program.says(/client prematurely closed connection/)
  const whole = await client.fragment(0, file, file.length)
  expect([whole.status, received(whole)]).toEqual([200, file.length])
  expect(seen).toEqual(['Create-Session', 'Fragment'])
}

describeDirectives(example, directives, {
  'large_client_header_buffers 4 64k': (directive) =>
    expectTokenRefused(example, without(directive, 'large_client_header_buffers 4 8k')),

  // Set to 1.0 explicitly, because later versions of nginx may have another default.
  'proxy_http_version 1.1': (directive) =>
    expectNothingStored(without(directive, 'proxy_http_version 1.0'), 'chunks'),

  'proxy_request_buffering off': (directive) =>
    expectNothingStored(without(directive, 'proxy_request_buffering on'), 'length'),

  async 'client_max_body_size 0'(directive) {
    const { url, seen } = await startBehind(example, without(directive, 'client_max_body_size 1m'))
    const client = await sessionOn({ url })
    const large = noise(1024 * 1024 + 1)
    const answer = await client.fragment(0, large, large.length)
    expect([answer.status, answer.headers['bits-packet-type']]).toEqual([413, undefined])
    expect(seen).toEqual(['Create-Session'])
  },

  // nginx closes the connection without an answer.
  'client_body_timeout 300s': (directive) =>
    expect(statusOfPausedFragment(example, without(directive, 'client_body_timeout 1s'))).rejects.toThrow(
      'socket hang up',
    ),

  // Two seconds instead of the default of one minute: longer than Create-Session takes on a busy machine.
  async 'proxy_read_timeout 300s'(directive) {
    expect(await statusWithoutDecision(example, without(directive, 'proxy_read_timeout 2s'))).toBe(504)
  },

  // nginx passes a request to the next server after an error or a timeout, even if it has sent all of it. There
  // are two exceptions (ngx_http_upstream_next): requests with a method that is not idempotent, for nginx only
  // POST, LOCK and PATCH; and requests whose body it forwards without buffering. Neither applies to packets
  // without a body: their method is BITS_POST, and they have no body to forward.
  async 'proxy_next_upstream off'(directive) {
    const repeated = without(directive, 'proxy_next_upstream error timeout')
    expect(await sendToFailingServer(example, 'BITS_POST', repeated)).toEqual({
      status: 200,
      servers: ['failing', 'next'],
    })
    const once = { status: 502, servers: ['failing'] }
    expect(await sendToFailingServer(example, 'POST', repeated)).toEqual(once)
    expect(await sendToFailingServer(example, 'BITS_POST with a body', repeated)).toEqual(once)
  },

  async 'proxy_set_header Host $http_host'(directive) {
    expect(await clientSeenByHook(example, without(`${directive};`))).toMatchObject({
      host: expect.stringMatching(/^127\.0\.0\.1:/),
    })
  },

  async 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for'(directive) {
    expect(await clientSeenByHook(example, without(`${directive};`))).toMatchObject({ ips: [] })
  },

  async 'proxy_set_header X-Forwarded-Proto $scheme'(directive) {
    expect(await clientSeenByHook(example, without(`${directive};`))).toMatchObject({ protocol: 'http' })
  },
})

describeNginx('nginx', () => {
  it('takes large_client_header_buffers from the first server block of a port', async () => {
    const block = (port: number, name: string, size: string): string => `server {
      listen 127.0.0.1:${port};
      server_name ${name};
      large_client_header_buffers 4 ${size};
      return 200;
    }`
    const { url } = await startNginx(
      (port) => `${block(port, 'first.example', '8k')}\n${block(port, 'files.example', '64k')}`,
    )
    const ping = await send(url, 'Ping', { headers: { ...token, Host: 'files.example' } })
    expect(ping.status).toBe(400)
  })

  it('limits the rate of packets with 503 by default', async () => {
    const { url } = await startBehind(example, {
      change: (config) =>
        `limit_req_zone $binary_remote_addr zone=uploads:1m rate=1r/m;
        ${config.replace('location /upload/ {', 'location /upload/ { limit_req zone=uploads;')}`,
    })
    expect((await send(url, 'Ping')).status).toBe(200)
    expect((await send(url, 'Ping')).status).toBe(503)
  })
})

it('examples/many-nodes/nginx.conf has every directive of examples/proxies/nginx.conf', () => {
  const text = exampleConfig('../many-nodes/nginx.conf')
  expect(directives.length).toBeGreaterThan(8)
  for (const directive of directives) expect(text).toContain(` ${directive};`)
})
