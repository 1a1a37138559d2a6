/** Names that the server must reject, as they are written in a request line (latin1, not normalized). */

const utf8 = (text: string): string => Buffer.from(text).toString('latin1')
const percent = (text: string): string =>
  [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

const dots = [
  '..',
  '.',
  '%2e%2e',
  '%2E%2e',
  '.%2e',
  '%2e.',
  '%2e',
  '...',
  '....',
  '.. ',
  '..%20',
  '%2e%2e%20',
]
/** Over-long and invalid UTF-8, and percent-encoded UTF-16, which some decoders read as a dot or a slash. */
const invalidEncodings = [
  '%c0%ae%c0%ae',
  '%c0%2e%c0%2e',
  '%e0%80%ae%e0%80%ae',
  '%f0%80%80%ae',
  '..%c0%af',
  '..%e0%80%af',
  '%c1%9c..',
  '%u002e%u002e',
  '%ed%a0%80',
  '%fe%ff',
  '%',
  '%2',
  '%zz',
  '\xc0\xae\xc0\xae',
  '\xe0\x80\xae',
  '\xff',
]

export const devices = [
  ...['CON', 'PRN', 'AUX', 'NUL', 'CONIN$', 'CONOUT$'],
  ...['COM', 'LPT'].flatMap((port) => [...'0123456789¹²³'].map((digit) => port + digit)),
]

const separators = [
  'a\\b',
  '..\\b',
  'a%5cb',
  '..%5c..%5cb',
  '%5c',
  'a%2fb',
  '..%2f..%2fb',
  '..%2F',
  '%2f',
  '\\',
]
const windows = [
  ...['C:', 'c:a', 'C%3A', 'c:%5cwindows', '%5c%5cserver%5cshare%5ca', '\\\\?\\C:\\a', '\\\\.\\pipe\\a'],
  ...['a::$DATA', 'a:stream', 'a%3astream', 'a:stream:$DATA', ':a', 'folder::$INDEX_ALLOCATION'],
  ...['a.', 'a..', 'a%2e', 'a%20', 'a.%20', 'a%20.', 'a. .', '%20', '.%20.'],
  ...['a*', 'a%3f', 'a"b', 'a<b', 'a>b', 'a|b', 'a%7cb', 'a%22b', '%3ca%3e', '*'],
]
const controls = [
  ...[0, 1, 8, 9, 10, 13, 27, 31, 127].map((code) => `a${percent(String.fromCharCode(code))}b`),
  ...['%00', 'a.bin%00', '%00a', 'a%00.txt', '..%00', 'a%0d%0aSet-Cookie:x', 'a%c2%85b', 'a%c2%9fb'],
  ...['\u202e', '\u2066'].flatMap((turn) => [`gpj${percent(turn)}exe`, `gpj${utf8(turn)}exe`]),
]
const long = [
  'x'.repeat(256),
  'x'.repeat(300),
  percent('é'.repeat(128)),
  utf8('日'.repeat(86)),
  '%41'.repeat(300),
]

/** Each is one segment. */
export const badSegments: readonly string[] = [
  ...dots,
  ...invalidEncodings,
  ...separators,
  ...windows,
  ...controls,
  ...long,
  ...devices.flatMap((device) => [
    percent(device),
    utf8(device),
    utf8(device.toLowerCase()),
    utf8(`${device}.txt`),
    utf8(`${device}.tar.gz`),
    `${utf8(device)}%20.txt`,
    `${utf8(device)}%20`,
    `${utf8(device)}:`,
    `${utf8(device)}.`,
  ]),
]

/** Names of several segments. `$ID` is the id of an open session. */
export const badPaths: readonly string[] = [
  ...[
    '',
    '/',
    '//',
    'folder/',
    'folder//a',
    '/a',
    '//etc/passwd',
    'folder',
    'folder/deep',
    'again',
    'way-out',
  ],
  ...['../a', '../../a', 'folder/../a', 'folder/../../a', './a', 'folder/./a', 'folder/..', '..', '../'],
  ...['../root-2/a', '../root-2', '../sentinel', '../outside/a', 'folder/%2e%2e/%2e%2e/outside/a'],
  // A double-encoded segment is a valid file name, but here a dot segment precedes it.
  ...[
    'folder%2fa',
    'folder%2Fa',
    'folder%2fdeep%2fa',
    '%2fetc%2fa',
    '%2e%2e/%252e%252e/a',
    '..%2foutside%2fa',
    '..%5coutside%5ca',
    '../outside/new',
  ],
  // Links: to a folder or file outside the root, to the session directory, to themselves.
  ...['way-out/a', 'way-out/secret', 'way-out/new', 'way%2Dout/a', 'folder/up/a', 'folder/up/outside/a'],
  ...[
    'way-out/../a',
    'secret',
    'dangling',
    'dangling/a',
    'secret/a',
    'kept.bin',
    'kept.bin/a',
    'loop',
    'loop/a',
  ],
  ...['hole', 'hole/a', 'hole/$ID.json', 'hole/$ID.part', 'again/../hole/a'],
  // The session directory.
  ...['.bits-sessions', '.bits-sessions/', '%2ebits-sessions', '.bits%2dsessions', '%2e%62its-sessions/a'],
  ...['.bits-sessions/a', '.bits-sessions/$ID.json', '.bits-sessions/$ID.part', '.bits-sessions%2f$ID.part'],
  ...[
    '.bits-sessions./a',
    '.bits-sessions%20/a',
    '.bits-sessions::$INDEX_ALLOCATION/a',
    '.bits-sessions%5ca',
  ],
  ...[
    '.BITS-SESSIONS',
    '.BITS-SESSIONS/a',
    '.Bits-Sessions/$ID.part',
    'BITS-S~1/a',
    './.bits-sessions/a',
    'folder/../.bits-sessions/a',
  ],
  ...['.bits-sessions?x', '.bits-sessions#x', '.bits-sessions/a?x=/../b', '.bits-sessions%00/a'],
  // The store never creates folders.
  ...['new/a', 'folder/new/a', '%7e/a', '~root/a', '.bits-sessions;x/a', 'folder;x/a'],
]

/** Paths that no file system can resolve. */
export const unresolvablePaths: readonly string[] = [
  // A link to itself.
  'loop',
  'loop/a',
  // Longer than the limit of Linux (4096 bytes), while the lengths of the segments, and of the path in
  // characters, are valid.
  Array.from({ length: 17 }, () => percent('日'.repeat(85))).join('/'),
]

/** Request targets without a valid name after the mount path `/upload`. */
export const badTargets: readonly string[] = [
  ...[
    '/upload',
    '/upload/',
    '/upload?a',
    '/upload/?a',
    '/upload//',
    '/upload/#a',
    '/upload/?/../a',
    '/upload/;a/b',
  ],
  ...['http://x/upload/../a', 'http://x/upload/', 'http://x/upload/%2e%2e/a', 'HTTP://x/upload/..%5ca'],
  ...['http://x/upload//a', 'https://x:1/upload/.bits-sessions/a', 'http://x/upload/way-out/a'],
  ...['http://x/upload/a%2fb?c', 'http://u:p@x/upload/con'],
  ...['/upload/../upload/a', '/upload/%2e%2e/upload/a', '/upload/..;/a', '/upload/..?a', '/upload/..#a'],
]
