import { describe, expect, it } from 'vitest'
import {
  type ClientSession,
  expireHostId,
  onFailure,
  onSuccess,
  sessionUrl,
} from '../../lib/client/session.ts'

const origin = new URL('https://farm.example:8443/up/a%20b?c=d')
const session = (host: string, fallbackTimeout?: number): ClientSession => ({
  id: 'x',
  hostId: { host, ...(fallbackTimeout !== undefined && { fallbackTimeout }) },
  offset: 0,
  stage: 'fragment',
})

it.each([
  ['node3.example', 'https://node3.example:8443/up/a%20b?c=d'],
  ['FRANKCAO8', 'https://frankcao8:8443/up/a%20b?c=d'],
  ['10.0.0.3', 'https://10.0.0.3:8443/up/a%20b?c=d'],
  ['fe80::1', 'https://[fe80::1]:8443/up/a%20b?c=d'],
  ['[fe80::1]', 'https://[fe80::1]:8443/up/a%20b?c=d'],
])('sessionUrl: replaces the host, and nothing else, for the Host-Id %s', (host, url) => {
  expect(sessionUrl(origin, session(host)).href).toBe(url)
  expect(origin.hostname).toBe('farm.example')
})

it('sessionUrl: returns the URL itself without a session or a Host-Id', () => {
  expect(sessionUrl(origin, undefined)).toBe(origin)
  expect(sessionUrl(origin, { ...session('a'), hostId: undefined })).toBe(origin)
})

describe('Host-Id fallback timer', () => {
  it('starts at the first failure and stops after a success', () => {
    const one = session('node', 10)
    expireHostId(one, 0)
    onFailure(one, 1000)
    onFailure(one, 5000)
    expireHostId(one, 10_999)
    expect(one.hostId?.host).toBe('node')
    onSuccess(one)
    expireHostId(one, 20_000)
    onFailure(one, 20_000)
    expireHostId(one, 29_999)
    expect(one.hostId?.host).toBe('node')
    expireHostId(one, 30_000)
    expect(one).toEqual({ id: 'x', offset: 0, stage: 'fragment' })
    onFailure(one, 40_000)
    expect(one).not.toHaveProperty('failingSince')
  })

  it('expires at the first failure with timeout 0, and never without a timeout', () => {
    const none = session('node', 0)
    onFailure(none, 5)
    expireHostId(none, 5)
    expect(none.hostId).toBeUndefined()
    const endless = session('node')
    onFailure(endless, 0)
    expireHostId(endless, 1e15)
    expect(endless.hostId?.host).toBe('node')
  })
})
