import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { absoluteUrl } from '../../lib/http/request.ts'

const request = (url: string, host?: string, socket = {}): IncomingMessage =>
  ({ url, headers: { ...(host !== undefined && { host }) }, socket }) as IncomingMessage

it.each([
  ['uses the Host header', request('/a?b', 'example.org:8080'), 'http://example.org:8080/a?b'],
  ['uses a different Host header of the next request', request('/a', 'example.net'), 'http://example.net/a'],
  ['uses the first Host header again', request('/a', 'example.org:8080'), 'http://example.org:8080/a'],
  ['uses an absolute target', request('http://example.com/a', 'example.org:8080'), 'http://example.com/a'],
  ['uses https when encrypted', request('/a', 'example.org', { encrypted: true }), 'https://example.org/a'],
  ['uses localhost without a Host header', request('/a'), 'http://localhost/a'],
  ['uses localhost for a Host header with a path', request('/a', 'example.org/b'), 'http://localhost/a'],
  ['uses localhost for an invalid Host header', request('/a', 'exa mple'), 'http://localhost/a'],
  ['uses localhost for the same invalid Host header again', request('/a', 'exa mple'), 'http://localhost/a'],
])('Absolute request URL: %s', (_, incoming, url) => {
  expect(absoluteUrl(incoming)).toBe(url)
})
