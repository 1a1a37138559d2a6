import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { urlOf } from '../../lib/http/request.ts'

const request = (url: string, host?: string, socket = {}): IncomingMessage =>
  ({ url, headers: { ...(host !== undefined && { host }) }, socket }) as IncomingMessage

it.each([
  ['the host that the client named', request('/a?b', 'example.org:8080'), 'http://example.org:8080/a?b'],
  ['another one next time', request('/a', 'example.net'), 'http://example.net/a'],
  ['the first one again', request('/a', 'example.org:8080'), 'http://example.org:8080/a'],
  ['the one of a whole target', request('http://example.com/a', 'example.org:8080'), 'http://example.com/a'],
  ['an encrypted connection', request('/a', 'example.org', { encrypted: true }), 'https://example.org/a'],
  ['localhost for no host', request('/a'), 'http://localhost/a'],
  ['localhost for a path as host', request('/a', 'example.org/b'), 'http://localhost/a'],
  ['localhost for what is no host', request('/a', 'exa mple'), 'http://localhost/a'],
  ['localhost again', request('/a', 'exa mple'), 'http://localhost/a'],
])('puts a URL together of %s', (_, asked, url) => {
  expect(urlOf(asked)).toBe(url)
})
