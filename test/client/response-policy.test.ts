import { describe, expect, it } from 'vitest'
import { classifyResponse, type RequestKind, responseError } from '../../lib/client/response-policy.ts'

const actionFor = (kind: RequestKind, status: number, hresult?: number) =>
  classifyResponse({ requestKind: kind, status, hresult, context: undefined })
const allKinds: readonly RequestKind[] = [
  'Ping',
  'Create-Session',
  'Fragment',
  'Close-Session',
  'Cancel-Session',
  'Reply',
]
const uploading = ['Ping', 'Create-Session', 'Fragment', 'Reply'] as const
const ending = ['Close-Session', 'Cancel-Session'] as const

const range = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i)

describe('response classification', () => {
  it('accepts 200 and 201', () => {
    for (const kind of allKinds) {
      expect([actionFor(kind, 200), actionFor(kind, 201)]).toEqual(['accept', 'accept'])
    }
  })

  it('accepts 416 for Fragment, 206 and 416 for replies, and shrinks on 413 for Fragment only', () => {
    expect([actionFor('Fragment', 416), actionFor('Fragment', 413)]).toEqual(['accept', 'fragment-too-large'])
    expect([actionFor('Reply', 206), actionFor('Reply', 416), actionFor('Reply', 413)]).toEqual([
      'accept',
      'accept',
      'fatal',
    ])
    for (const kind of ['Create-Session', 'Ping', 'Close-Session'] as const) {
      expect([actionFor(kind, 416), actionFor(kind, 413)]).toEqual(['fatal', 'fatal'])
    }
  })

  it('authenticates on 401, and returns fatal for 407', () => {
    for (const kind of allKinds) {
      expect([actionFor(kind, 401), actionFor(kind, 407)]).toEqual(['authenticate', 'fatal'])
    }
  })

  it('returns session-lost for 0x8020001F with any status', () => {
    for (const kind of allKinds) {
      for (const status of [200, 400, 401, 404, 500, 503]) {
        expect(actionFor(kind, status, 0x8020001f)).toBe('session-lost')
      }
    }
  })

  it('retries 306, 408, 409, 429 and 5xx except 501 and 505; other 3xx and 4xx are fatal', () => {
    const fatal = [...range(300, 305), 307, 308, ...range(400, 499), 501, 505]
    const retried = [306, 408, 409, 429, ...range(500, 599), 600]
    for (const kind of uploading) {
      for (const status of [...range(300, 308), ...range(400, 600)]) {
        if ([401, 413, 416].includes(status)) continue
        const expected = retried.includes(status) && ![501, 505].includes(status) ? 'retry' : 'fatal'
        expect([kind, status, actionFor(kind, status)]).toEqual([kind, status, expected])
        if (expected === 'fatal') expect(fatal).toContain(status)
      }
    }
  })

  it('retries 408, 409, 429 and 5xx for Close-Session and Cancel-Session; other statuses up to 499 are fatal', () => {
    for (const kind of ending) {
      const retried = [408, 409, 429, ...range(500, 599)]
      for (const status of retried) expect(actionFor(kind, status)).toBe('retry')
      for (const status of [...range(202, 400), ...range(402, 499)]) {
        if (!retried.includes(status)) expect(actionFor(kind, status)).toBe('fatal')
      }
    }
  })

  it('returns fatal for 0x80200020, 0x80070057 and 0x80070005 on Fragment with any status', () => {
    for (const hresult of [0x80200020, 0x80070057, 0x80070005]) {
      for (const status of [400, 403, 500, 503]) expect(actionFor('Fragment', status, hresult)).toBe('fatal')
    }
    expect(actionFor('Fragment', 500, 0x80070070)).toBe('retry')
    expect(actionFor('Fragment', 500, 0x801901f4)).toBe('retry')
    // For Close-Session and Cancel-Session only the status counts.
    expect(actionFor('Close-Session', 500, 0x80070057)).toBe('retry')
  })
})

describe('UploadError of a refusal', () => {
  it.each([
    [301, undefined, undefined, 'redirected'],
    [400, 0x80070057, 5, 'invalid-request'],
    [400, undefined, undefined, 'invalid-request'],
    [401, undefined, undefined, 'unauthorized'],
    [403, 0x80070005, 5, 'access-denied'],
    [403, 0x80070005, 7, 'application-refused'],
    [404, undefined, undefined, 'not-found'],
    [405, undefined, undefined, 'not-supported'],
    [407, undefined, undefined, 'proxy-unauthorized'],
    [413, undefined, undefined, 'fragment-too-large'],
    [418, undefined, undefined, 'refused'],
    [500, 0x80070005, 5, 'access-denied'],
    [500, 0x80070057, 5, 'invalid-request'],
    [500, 0x80200020, 5, 'too-large'],
    [501, 0x80070005, 5, 'not-supported'],
    [505, undefined, undefined, 'not-supported'],
  ])('for status %i, HRESULT %s, context %s has code %s', (status, hresult, context, code) => {
    const error = responseError({ requestKind: 'Fragment', status, hresult, context })
    expect(error).toMatchObject({ name: 'UploadError', code, status, hresult, context })
    const hex = hresult === undefined ? '' : `, 0x${hresult.toString(16).toUpperCase()}`
    expect(error.message.endsWith(`. Fragment was answered ${status}${hex}.`)).toBe(true)
  })

  it('names proxies that remove Content-Length for a 400 to a control packet, and for any 411', () => {
    const namesProxies = (kind: RequestKind, status: number): boolean =>
      responseError({ requestKind: kind, status, hresult: undefined, context: undefined }).message.includes(
        '(Caddy, Traefik, cloudflared)',
      )
    for (const kind of allKinds) {
      expect([kind, namesProxies(kind, 411)]).toEqual([kind, true])
      expect([kind, namesProxies(kind, 403)]).toEqual([kind, false])
      const isControl = kind !== 'Fragment' && kind !== 'Reply'
      expect([kind, namesProxies(kind, 400)]).toEqual([kind, isControl])
    }
  })
})
