import type { Request } from 'express'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type BitsUploadOptions, bitsUpload, memoryStore } from '../lib/index.ts'
import { readOptions } from '../lib/options.ts'

const store = memoryStore()
const wrong =
  (options: unknown): (() => unknown) =>
  () =>
    bitsUpload(options as BitsUploadOptions)

describe('options', () => {
  it('have finite defaults', () => {
    expect(readOptions({ store })).toMatchObject({
      maxSize: 10 * 1024 ** 3,
      maxFragmentSize: 10 * 1024 ** 3,
      maxSessions: 10_000,
      maxSessionsPerOwner: 50,
      overwrite: false,
      expireAfter: 14 * 24 * 60 * 60 * 1000,
      sweepEvery: 12 * 60 * 60 * 1000,
      idleTimeout: 120_000,
      commitOn: 'last-fragment',
      createStatus: 200,
      hostId: undefined,
    })
    expect(readOptions({ store }).enabled()).toBe(true)
    expect(Object.isFrozen(readOptions({ store }))).toBe(true)
  })

  it.each([
    ['10gb', 10 * 1024 ** 3],
    ['1.5 KB', 1536],
    ['7b', 7],
    [5, 5],
    [1.5, 1],
  ])('read the size %j as %d bytes', (maxSize, bytes) => {
    expect(readOptions({ store, maxSize })).toMatchObject({ maxSize: bytes, maxFragmentSize: bytes })
  })

  it('take a host id with and without its time-out', () => {
    expect(readOptions({ store, hostId: 'node3.example' }).hostId).toEqual({
      host: 'node3.example',
      fallbackTimeout: 86_400,
    })
    expect(readOptions({ store, hostId: { host: '::1', fallbackTimeout: 110 } }).hostId).toEqual({
      host: '::1',
      fallbackTimeout: 110,
    })
  })

  it.each([
    ['nothing', undefined, /pass options/],
    ['no store', {}, /'store' takes a directory/],
    ['an empty store', { store: '' }, /'store' takes a directory/],
    ['a store with NUL', { store: 'a\0b' }, /directory/],
    ['half a store', { store: { ...store, publish: undefined } }, /not 'one without publish'/],
    ['a misspelt name', { store, maxsize: 5 }, /no option 'maxsize'; did you mean 'maxSize'\?/],
    ['a misspelt name', { store, expiresAfter: 5 }, /did you mean 'expireAfter'\?/],
    ['a name like none', { store, somethingElse: 5 }, /the options are store, maxSize/],
    ['words for a size', { store, maxSize: '10 apples' }, /'maxSize' takes .* not '10 apples'/],
    ['no bytes', { store, maxSize: 0 }, /'maxSize'/],
    ['too many bytes', { store, maxSize: '9007199254740993pb' }, /'maxSize'/],
    ['a negative size', { store, maxFragmentSize: -1 }, /'maxFragmentSize'/],
    ['half a session', { store, maxSessions: 1.5 }, /'maxSessions'/],
    ['text for a number', { store, maxSessionsPerOwner: '5' }, /'maxSessionsPerOwner'/],
    ['no time', { store, expireAfter: 0 }, /'expireAfter'/],
    ['text for a time', { store, expireAfter: '14d' }, /'expireAfter'/],
    ['a delay beyond timers', { store, sweepEvery: 2 ** 31 }, /'sweepEvery' .*24\.8 days/],
    ['NaN', { store, idleTimeout: Number.NaN }, /'idleTimeout'/],
    [
      'another moment',
      { store, commitOn: 'never' },
      /'commitOn' takes 'last-fragment' or 'close', not 'never'/,
    ],
    ['another status', { store, createStatus: 204 }, /'createStatus' takes 200 or 201/],
    ['no boolean', { store, overwrite: 'yes' }, /'overwrite' takes false or true/],
    ['no switch', { store, enabled: 1 }, /'enabled'/],
    ['no hook', { store, onUpload: {} }, /'onUpload' takes a function/],
    ['a host that is none', { store, hostId: null }, /'hostId' takes a host/],
    [
      'a misspelt time-out',
      { store, hostId: { host: 'a', falbackTimeout: 5 } },
      /did you mean 'fallbackTimeout'/,
    ],
    ['a host with port', { store, hostId: 'node3:80' }, /'hostId' takes a host name or address without port/],
    ['a host with a line feed', { store, hostId: 'a\r\nX: y' }, /'hostId'/],
    [
      'a fallback of half a second',
      { store, hostId: { host: 'a', fallbackTimeout: 0.5 } },
      /fallbackTimeout/,
    ],
  ])('refuse %s', (_, options, message) => {
    expect(wrong(options)).toThrow(TypeError)
    expect(wrong(options)).toThrow(message)
  })

  it('give hooks the request of the caller’s framework', () => {
    bitsUpload({
      store,
      authorize(request: Request) {
        expectTypeOf(request.hostname).toEqualTypeOf<string>()
        return request.hostname
      },
    })
  })
})
