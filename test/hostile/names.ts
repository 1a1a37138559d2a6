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
/** Over-long and broken UTF-8, and UTF-16 in percent: what once made a dot or a slash of harmless bytes. */
const illEncoded = [
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

/** One segment each. */
export const badSegments: readonly string[] = [
  ...dots,
  ...illEncoded,
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

/** Whole names, of several segments. `$ID` is a live session's id. */
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
  // Twice encoded is a file's name in the end, but here it has a dot segment in front.
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
  // Links: out of the root by a folder or a file, into the sessions, to themselves.
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
  // The sessions' directory.
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
  // Folders are never made.
  ...['new/a', 'folder/new/a', '%7e/a', '~root/a', '.bits-sessions;x/a', 'folder;x/a'],
]

/** Paths that no file system can go to the end of. */
export const endlessPaths: readonly string[] = [
  // A link to itself.
  'loop',
  'loop/a',
  // Longer than Linux takes (4096 bytes), though each segment is not, and all are not too many characters.
  Array.from({ length: 17 }, () => percent('日'.repeat(85))).join('/'),
]

/** Request targets whose path is not simply behind the mount path `/upload`. */
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
