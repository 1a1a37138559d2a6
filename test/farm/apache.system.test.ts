import { expect, it } from 'vitest'
import { describeApache } from '../support/apache.ts'
import { send } from '../support/client.ts'
import { directives, apacheExample as example } from './apache-config.ts'
import {
  clientSeenByHook,
  closedWhenIdle,
  expectTokenRefused,
  startBehind,
  statusOfPausedFragment,
  statusWithoutDecision,
  without,
} from './fixture.ts'
import { describeDirectives, describeExample } from './proxy-suite.ts'

describeExample(example)

describeDirectives(example, directives, {
  'LimitRequestFieldSize 65536': (directive) => expectTokenRefused(example, without(directive)),

  async 'Timeout 300'(directive) {
    expect(await statusWithoutDecision(example, without(directive, 'Timeout 2'))).toBe(502)
    expect(await statusOfPausedFragment(example, without(directive, 'Timeout 2'))).toBe(408)
  },

  'KeepAliveTimeout 120': (directive) => closedWhenIdle(example, without(directive, 'KeepAliveTimeout 1')),

  async 'RequestReadTimeout body=0'(directive) {
    expect(await statusOfPausedFragment(example, without(directive, 'RequestReadTimeout body=1'))).toBe(408)
  },

  async 'ProxyPreserveHost On'(directive) {
    expect(await clientSeenByHook(example, without(directive))).toMatchObject({
      host: expect.stringMatching(/^127\.0\.0\.1:/),
    })
  },

  async 'RequestHeader set X-Forwarded-Proto expr=%{REQUEST_SCHEME}'(directive) {
    expect(await clientSeenByHook(example, without(directive))).toMatchObject({ protocol: 'http' })
  },
})

describeApache('Apache', () => {
  it('answers 501 with HttpProtocolOptions RegisteredMethods, unless BITS_POST is registered', async () => {
    const registered = (config: string): string => `HttpProtocolOptions RegisteredMethods\n${config}`
    const { url } = await startBehind(example, { change: registered })
    expect((await send(url, 'Ping')).status).toBe(501)
    const other = await startBehind(example, {
      change: (config) => `RegisterHttpMethod BITS_POST\n${registered(config)}`,
    })
    expect((await send(other.url, 'Ping')).status).toBe(200)
  })
})
