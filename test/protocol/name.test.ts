import { describe, expect, it } from 'vitest'
import { BitsError } from '../../lib/protocol/errors.ts'
import { checkName, decodePath } from '../../lib/protocol/name.ts'

const refused = (run: () => unknown): void => {
  expect(run).toThrow(BitsError)
  expect(run).toThrow(expect.objectContaining({ code: 'invalid-destination', status: 400 }))
}

describe('decodePath', () => {
  it.each([
    ['/a.bin', '/a.bin'],
    ['/', '/'],
    ['/a%20b/c.txt?x=/../y', '/a b/c.txt'],
    ['/a.bin#part', '/a.bin'],
    ['/%C3%A9t%C3%A9', '/été'],
    // Windows escapes nothing; node:http hands over the bytes of UTF-8 as Latin-1.
    [`/${Buffer.from('été').toString('latin1')}`, '/été'],
    ['/%25', '/%'],
    ['/%252e%252e/x', '/%2e%2e/x'],
    ['http://files.example/upload/a.bin', '/upload/a.bin'],
    ['HTTPS://files.example:8443/a?b', '/a'],
  ])('decodes %j once, to %j', (target, path) => {
    expect(decodePath(target)).toBe(path)
  })

  it.each([
    '',
    '*',
    'a.bin',
    'host:443',
    '/%',
    '/%zz',
    '/%C3',
    '/%c0%ae%c0%ae/x',
    '/%ed%a0%80',
    '/\u00e9',
    '/a%2fb',
    '/a%2Fb',
  ])('rejects %j with invalid-destination', (target) => refused(() => decodePath(target)))
})

describe('checkName', () => {
  it.each([
    'a',
    'a.bin',
    '.hidden',
    '...a',
    'folder/a b.bin',
    'été',
    'e\u0301te\u0301',
    '日本語.txt',
    '%2e%2e',
    'console.log',
    'com.txt',
    'COM10',
    'lpt',
    'nully.txt',
    'aux-file',
    '👩‍💻.txt',
    'x'.repeat(255),
    `${`${'y'.repeat(200)}/`.repeat(10)}z`,
  ])('accepts %j', (name) => {
    expect(checkName(name)).toBe(name)
  })

  it.each([
    ['', /it is a directory/],
    ['a/', /it is a directory/],
    ['a//b', /it contains an empty segment: its URL has two slashes in a row/],
    ['/a', /empty segment/],
    ['a//', /empty segment/],
  ])('explains why %j is rejected', (name, message) => {
    expect(() => checkName(name)).toThrow(message)
  })

  it.each([
    ['an empty name', ''],
    ['a trailing slash', 'a/'],
    ['an empty segment', 'a//b'],
    ['an absolute path', '/etc/passwd'],
    ['a dot segment', './a'],
    ['a dot segment', '..'],
    ['a dot segment', 'a/../b'],
    ['a backslash', '..\\windows'],
    ['a drive letter', 'C:a'],
    ['an NTFS stream', 'a.txt:hidden'],
    ['a UNC path', '\\\\server\\share'],
    ['NUL', 'a\0.txt'],
    ['a control character', 'a\nb'],
    ['DEL', 'a\x7f'],
    ['a Latin-1 control character', 'a\x85'],
    ['a wildcard', 'a*'],
    ['a wildcard', 'a?'],
    ['a quote', 'a"'],
    ['an angle bracket', 'a<b'],
    ['an angle bracket', 'a>b'],
    ['a pipe', 'a|b'],
    ['a bidirectional override', 'gpj\u202eexe'],
    ['a bidirectional isolate', 'a\u2066b'],
    ['a trailing dot', 'a.'],
    ['a trailing space', 'a '],
    ['a trailing dot in a folder', 'a./b'],
    ['three dots', '...'],
    ['a device name', 'CON'],
    ['a device name', 'nul.txt'],
    ['a device name', 'Aux .txt'],
    ['a device name', 'x/prn'],
    ['a device name', 'COM1.log'],
    ['a device name', 'lpt9'],
    ['a device name', 'com¹'],
    ['a device name', 'CONIN$'],
    ['a lone surrogate', 'a\ud800'],
    ['a segment of 256 bytes', 'x'.repeat(256)],
    ['a segment of 256 bytes in UTF-8', 'é'.repeat(128)],
    ['a path of 2,201 characters', `${'a/'.repeat(1100)}b`],
  ])('rejects %s with invalid-destination', (_, name) => refused(() => checkName(name)))
})
