/** Removes or changes each directive of the README's nginx configuration, and shows the effect. */
import { expect, it, onTestFinished } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received } from '../support/client.ts'
import { describeNginx } from '../support/nginx.ts'
import { withResolvers } from '../support/promise.ts'
import { sessionOn } from '../wire/setting.ts'
import {
  beginFragment,
  type ConfigChange,
  clientSeenByHook,
  type Framing,
  file,
  half,
  sendToFailingServer,
  startBehindNginx,
} from './fixture.ts'
import { directives, replaceDirective } from './nginx-config.ts'

/** Removes a directive from the configuration, or replaces it. */
const replace =
  (directive: string, replacement = ''): ConfigChange =>
  (config) =>
    replaceDirective(config, directive, replacement)

/** Expects that the server stores no byte of a fragment that the client aborts. */
async function expectNothingStored(change: ConfigChange, framing: Framing): Promise<void> {
  const { url, nginx, seen } = await startBehindNginx(change)
  const client = await sessionOn({ url })
  const outgoing = beginFragment(client, framing)
  await new Promise<void>((resolve) => outgoing.write(file.subarray(0, half), () => resolve()))
  outgoing.destroy()
  await nginx.program.says(/client prematurely closed connection/)
  const whole = await client.fragment(0, file, file.length)
  expect([whole.status, received(whole)]).toEqual([200, file.length])
  expect(seen).toEqual(['Create-Session', 'Fragment'])
}

const effects: Readonly<Record<string, (directive: string) => Promise<void>>> = {
  // Set to 1.0 explicitly, because later versions of nginx may have another default.
  'proxy_http_version 1.1': (directive) =>
    expectNothingStored(replace(directive, 'proxy_http_version 1.0;'), 'chunks'),

  'proxy_request_buffering off': (directive) => expectNothingStored(replace(directive), 'length'),

  async 'client_max_body_size 0'(directive) {
    const { url, seen } = await startBehindNginx(replace(directive))
    const client = await sessionOn({ url })
    const large = noise(1024 * 1024 + 1)
    const answer = await client.fragment(0, large, large.length)
    expect([answer.status, answer.headers['bits-packet-type']]).toEqual([413, undefined])
    expect(seen).toEqual(['Create-Session'])
  },

  // Two seconds instead of the default of one minute: longer than Create-Session takes on a busy machine.
  async 'proxy_read_timeout 300s'(directive) {
    const decided = withResolvers<void>()
    const { url } = await startBehindNginx(replace(directive, 'proxy_read_timeout 2s;'), {
      onUpload: () => decided.promise,
    })
    onTestFinished(() => decided.resolve())
    const client = await sessionOn({ url })
    expect((await client.fragment(0, file, file.length)).status).toBe(504)
  },

  async 'proxy_next_upstream off'(directive) {
    expect(await sendToFailingServer(replace(directive), 'BITS_POST')).toEqual({
      status: 200,
      servers: ['failing', 'next'],
    })
    // By default nginx repeats neither a POST nor a request with an unbuffered body.
    const once = { status: 502, servers: ['failing'] }
    expect(await sendToFailingServer(replace(directive), 'POST')).toEqual(once)
    expect(await sendToFailingServer(replace(directive), 'BITS_POST', file)).toEqual(once)
  },

  async 'proxy_set_header Host $http_host'(directive) {
    expect(await clientSeenByHook(replace(directive))).toMatchObject({
      host: expect.stringMatching(/^127\.0\.0\.1:/),
    })
  },

  async 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for'(directive) {
    expect(await clientSeenByHook(replace(directive))).toMatchObject({ ips: [] })
  },

  async 'proxy_set_header X-Forwarded-Proto $scheme'(directive) {
    expect(await clientSeenByHook(replace(directive))).toMatchObject({ protocol: 'http' })
  },
}

describeNginx('nginx configuration of the README', () => {
  it.each(directives)('needs the directive %s', async (directive) => {
    expect(Object.keys(effects)).toContain(directive)
    await effects[directive]?.(directive)
  })
})
