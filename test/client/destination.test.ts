import { describe, expect, it } from 'vitest'
import { fallBack, noteFailure, noteSuccess, urlOf } from '../../lib/client/destination.ts'
import type { Session } from '../../lib/client/session.ts'

const origin = new URL('https://farm.example:8443/up/a%20b?c=d')
const session = (host: string, fallbackTimeout?: number): Session => ({
  id: 'x',
  hostId: { host, ...(fallbackTimeout !== undefined && { fallbackTimeout }) },
  held: 0,
  stage: 'fragment',
})

it.each([
  ['node3.example', 'https://node3.example:8443/up/a%20b?c=d'],
  ['FRANKCAO8', 'https://frankcao8:8443/up/a%20b?c=d'],
  ['10.0.0.3', 'https://10.0.0.3:8443/up/a%20b?c=d'],
  ['fe80::1', 'https://[fe80::1]:8443/up/a%20b?c=d'],
  ['[fe80::1]', 'https://[fe80::1]:8443/up/a%20b?c=d'],
])('sessionUrl: replaces the host, and nothing else, for the Host-Id %s', (host, url) => {
  expect(urlOf(origin, session(host)).href).toBe(url)
  expect(origin.hostname).toBe('farm.example')
})

it('sessionUrl: returns the URL itself without a session or a Host-Id', () => {
  expect(urlOf(origin, undefined)).toBe(origin)
  expect(urlOf(origin, { ...session('a'), hostId: undefined })).toBe(origin)
})

describe('Host-Id fallback timer', () => {
  it('starts at the first failure and stops after a success', () => {
    const one = session('node', 10)
    fallBack(one, 0)
    noteFailure(one, 1000)
    noteFailure(one, 5000)
    fallBack(one, 10_999)
    expect(one.hostId?.host).toBe('node')
    noteSuccess(one)
    fallBack(one, 20_000)
    noteFailure(one, 20_000)
    fallBack(one, 29_999)
    expect(one.hostId?.host).toBe('node')
    fallBack(one, 30_000)
    expect(one).toEqual({ id: 'x', held: 0, stage: 'fragment' })
    noteFailure(one, 40_000)
    expect(one).not.toHaveProperty('failingSince')
  })

  it('expires at the first failure with timeout 0, and never without a timeout', () => {
    const none = session('node', 0)
    noteFailure(none, 5)
    fallBack(none, 5)
    expect(none.hostId).toBeUndefined()
    const endless = session('node')
    noteFailure(endless, 0)
    fallBack(endless, 1e15)
    expect(endless.hostId?.host).toBe('node')
  })
})
