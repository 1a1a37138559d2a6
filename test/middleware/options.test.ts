import type { Request } from 'express'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type BitsUploadOptions, bitsUpload, memoryStore } from '../../lib/index.ts'
import { readBitsUploadOptions } from '../../lib/middleware/options.ts'

const store = memoryStore()
const wrong =
  (options: unknown): (() => unknown) =>
  () =>
    bitsUpload(options as BitsUploadOptions)

describe('bitsUpload options', () => {
  it('have finite defaults', () => {
    expect(readBitsUploadOptions({ store })).toMatchObject({
      maxSize: 10 * 1024 ** 3,
      maxFragmentSize: 10 * 1024 ** 3,
      maxSessions: 10_000,
      maxSessionsPerOwner: 50,
      overwrite: false,
      expireAfter: 14 * 24 * 60 * 60 * 1000,
      sweepEvery: 12 * 60 * 60 * 1000,
      idleTimeout: 120_000,
      lockTimeout: 30_000,
      commitOn: 'last-fragment',
      createStatus: 200,
      hostId: undefined,
    })
    expect(readBitsUploadOptions({ store }).enabled).toBe(true)
    expect(Object.isFrozen(readBitsUploadOptions({ store }))).toBe(true)
  })

  it.each([
    ['10gb', 10 * 1024 ** 3],
    ['1.5 KB', 1536],
    ['7b', 7],
    [5, 5],
    [1.5, 1],
  ])('read maxSize %j as %d bytes', (maxSize, bytes) => {
    expect(readBitsUploadOptions({ store, maxSize })).toMatchObject({
      maxSize: bytes,
      maxFragmentSize: bytes,
    })
  })

  it('accept hostId with and without fallbackTimeout', () => {
    expect(readBitsUploadOptions({ store, hostId: 'node3.example' }).hostId).toEqual({
      host: 'node3.example',
      fallbackTimeout: 86_400,
    })
    expect(readBitsUploadOptions({ store, hostId: { host: '::1', fallbackTimeout: 110 } }).hostId).toEqual({
      host: '::1',
      fallbackTimeout: 110,
    })
    for (const host of ['10.0.0.5', '[2001:db8::5]', '::ffff:10.0.0.5', 'node-3']) {
      expect(readBitsUploadOptions({ store, hostId: host }).hostId).toMatchObject({ host })
    }
  })

  it.each([
    ['undefined', undefined, /pass options/],
    ['a missing store', {}, /'store' takes a directory/],
    ['an empty store path', { store: '' }, /'store' takes a directory/],
    ['a store path with NUL', { store: 'a\0b' }, /directory/],
    ['a store without publish', { store: { ...store, publish: undefined } }, /not 'one without publish'/],
    ['a misspelled name', { store, maxsize: 5 }, /no option 'maxsize'; did you mean 'maxSize'\?/],
    ['a misspelled name', { store, expiresAfter: 5 }, /did you mean 'expireAfter'\?/],
    ['an unknown name', { store, somethingElse: 5 }, /the options are store, maxSize/],
    ['an invalid unit in maxSize', { store, maxSize: '10 apples' }, /'maxSize' takes .* not '10 apples'/],
    ['maxSize 0', { store, maxSize: 0 }, /'maxSize'/],
    ['a maxSize above the safe integers', { store, maxSize: '9007199254740993pb' }, /'maxSize'/],
    ['a negative maxFragmentSize', { store, maxFragmentSize: -1 }, /'maxFragmentSize'/],
    [
      'a fractional maxSessions',
      { store, maxSessions: 1.5 },
      /'maxSessions' takes a whole number of sessions, or/,
    ],
    ['a string for maxSessionsPerOwner', { store, maxSessionsPerOwner: '5' }, /'maxSessionsPerOwner'/],
    ['expireAfter 0', { store, expireAfter: 0 }, /'expireAfter'/],
    ['a string for expireAfter', { store, expireAfter: '14d' }, /'expireAfter'/],
    ['a sweepEvery above the timer limit', { store, sweepEvery: 2 ** 31 }, /'sweepEvery' .*24\.8 days/],
    ['0 for lockTimeout', { store, lockTimeout: 0 }, /'lockTimeout'/],
    ['NaN for idleTimeout', { store, idleTimeout: Number.NaN }, /'idleTimeout'/],
    [
      'an unknown commitOn',
      { store, commitOn: 'never' },
      /'commitOn' takes 'last-fragment' or 'close', not 'never'/,
    ],
    ['createStatus 204', { store, createStatus: 204 }, /'createStatus' takes 200 or 201/],
    ['a string for overwrite', { store, overwrite: 'yes' }, /'overwrite' takes true or false, not 'yes'/],
    ['a number for enabled', { store, enabled: 1 }, /'enabled'/],
    ['an object for onUpload', { store, onUpload: {} }, /'onUpload' takes a function/],
    ['null for hostId', { store, hostId: null }, /'hostId' takes a host/],
    [
      'a misspelled fallbackTimeout',
      { store, hostId: { host: 'a', falbackTimeout: 5 } },
      /did you mean 'fallbackTimeout'/,
    ],
    [
      'a hostId with a port',
      { store, hostId: 'node3:80' },
      /'hostId' takes a host name or address without port/,
    ],
    ...['10.0.0.5:8080', 'cafe:80', '1.2.3.4:5:6', '[10.0.0.5]', '[::1', '[::1]:80', 'fe80::1%eth0'].map(
      (hostId): [string, object, RegExp] => [
        `the hostId ${hostId}`,
        { store, hostId },
        /'hostId' takes a host name or address without port/,
      ],
    ),
    ['a hostId with a line feed', { store, hostId: 'a\r\nX: y' }, /'hostId'/],
    [
      'a fallbackTimeout of 0.5 s',
      { store, hostId: { host: 'a', fallbackTimeout: 0.5 } },
      /seconds from 0 to 4294967295/,
    ],
  ])('reject %s with a TypeError', (_, options, message) => {
    expect(wrong(options)).toThrow(TypeError)
    expect(wrong(options)).toThrow(message)
  })

  it('accept hooks that declare the request type of a framework', () => {
    bitsUpload({
      store,
      authorize(request: Request) {
        expectTypeOf(request.hostname).toEqualTypeOf<string>()
        return request.hostname
      },
    })
  })
})
