/** Removes or changes each directive of the README's nginx recipe in turn, and shows the effect. */
import { expect, it, onTestFinished } from 'vitest'
import { noise } from '../support/bytes.ts'
import { received } from '../support/client.ts'
import { describeNginx } from '../support/nginx.ts'
import { sessionOn, signal } from '../wire/setting.ts'
import { directives, without } from './recipe.ts'
import {
  beginFragment,
  behind,
  type Change,
  clientInHook,
  type Framing,
  file,
  half,
  meetDyingServer,
} from './setting.ts'

/** A recipe without a line, or with another in its place. */
const but =
  (directive: string, other = ''): Change =>
  (text) =>
    without(text, directive, other)

/** Nothing of a fragment that breaks off comes through. */
async function expectNothingHeld(change: Change, framing: Framing): Promise<void> {
  const { url, nginx, seen } = await behind(change)
  const client = await sessionOn({ url })
  const outgoing = beginFragment(client, framing)
  await new Promise<void>((resolve) => outgoing.write(file.subarray(0, half), () => resolve()))
  outgoing.destroy()
  await nginx.program.says(/client prematurely closed connection/)
  const whole = await client.fragment(0, file, file.length)
  expect([whole.status, received(whole)]).toEqual([200, file.length])
  expect(seen).toEqual(['Create-Session', 'Fragment'])
}

const shown: Readonly<Record<string, (line: string) => Promise<void>>> = {
  // Set to 1.0 explicitly, because a later nginx may have another default.
  'proxy_http_version 1.1': (line) => expectNothingHeld(but(line, 'proxy_http_version 1.0;'), 'chunks'),

  'proxy_request_buffering off': (line) => expectNothingHeld(but(line), 'length'),

  async 'client_max_body_size 0'(line) {
    const { url, seen } = await behind(but(line))
    const client = await sessionOn({ url })
    const large = noise(1024 * 1024 + 1)
    const answer = await client.fragment(0, large, large.length)
    expect([answer.status, answer.headers['bits-packet-type']]).toEqual([413, undefined])
    expect(seen).toEqual(['Create-Session'])
  },

  // Two seconds instead of the default of one minute: longer than Create-Session takes on a busy machine.
  async 'proxy_read_timeout 300s'(line) {
    const decided = signal()
    const { url } = await behind(but(line, 'proxy_read_timeout 2s;'), { onUpload: () => decided.given })
    onTestFinished(decided.give)
    const client = await sessionOn({ url })
    expect((await client.fragment(0, file, file.length)).status).toBe(504)
  },

  async 'proxy_next_upstream off'(line) {
    expect(await meetDyingServer(but(line), 'BITS_POST')).toEqual({ status: 200, servers: ['dying', 'next'] })
    // By default others are not sent again.
    const once = { status: 502, servers: ['dying'] }
    expect(await meetDyingServer(but(line), 'POST')).toEqual(once)
    expect(await meetDyingServer(but(line), 'BITS_POST', file)).toEqual(once)
  },

  async 'proxy_set_header Host $http_host'(line) {
    expect(await clientInHook(but(line))).toMatchObject({ host: expect.stringMatching(/^127\.0\.0\.1:/) })
  },

  async 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for'(line) {
    expect(await clientInHook(but(line))).toMatchObject({ ips: [] })
  },

  async 'proxy_set_header X-Forwarded-Proto $scheme'(line) {
    expect(await clientInHook(but(line))).toMatchObject({ protocol: 'http' })
  },
}

describeNginx('nginx recipe of the README', () => {
  it.each(directives)('needs the directive %s', async (line) => {
    expect(Object.keys(shown)).toContain(line)
    await shown[line]?.(line)
  })
})
