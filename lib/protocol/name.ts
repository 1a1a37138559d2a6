import { BitsError } from './errors.ts'

/** Limit of Windows for a remote URL, in characters (sdk-api: BG_FILE_INFO). */
const MaxPath = 2200
/** Limit of a file or folder name on all common file systems, in bytes of UTF-8. */
const MaxSegment = 255

// Separators and wildcards of Windows, control characters of ASCII and Latin-1, and control characters of
// text direction, which display `gpj.exe` as `exe.jpg`.
// biome-ignore lint/suspicious/noControlCharactersInRegex: the expression finds control characters
const forbidden = /[\\/:*?"<>|\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/
const device = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$/i

const refuse = (reason: string): BitsError =>
  new BitsError('invalid-destination', `The destination is refused: ${reason}`)

/**
 * Checks the name of an upload: segments joined with `/`. Names are refused, never rewritten, by the same
 * rules on every platform: a name that one server accepted must not be a device, a stream or another folder
 * on another server.
 * @throws {BitsError} `invalid-destination`, with the reason.
 */
export function checkName(name: string): string {
  if (name.length > MaxPath) throw refuse(`it is longer than ${MaxPath} characters`)
  if (name === '' || /[^/]\/$/.test(name))
    throw refuse('it is a directory, because its URL ends with a slash')
  for (const segment of name.split('/')) checkSegment(segment)
  return name
}

function checkSegment(segment: string): void {
  if (segment === '') throw refuse('it contains an empty segment: its URL has two slashes in a row')
  if (segment === '.' || segment === '..') throw refuse('it contains a dot segment (. or ..)')
  if (forbidden.test(segment)) throw refuse('it contains a character that is not allowed in file names')
  if (!segment.isWellFormed()) throw refuse('it is not valid Unicode')
  if (/[. ]$/.test(segment))
    throw refuse('a name must not end in a dot or a space, because Windows removes it')
  if (Buffer.byteLength(segment) > MaxSegment) throw refuse(`a segment is longer than ${MaxSegment} bytes`)
  // `nul.txt` and `nul .txt` are also names of the device.
  const base = segment.split('.', 1)[0]?.trimEnd() ?? ''
  if (device.test(base)) throw refuse(`${base} is a device of Windows`)
}

/**
 * The path of a request target, without query, each segment decoded once: `/a%20b/c?d` is `/a b/c`.
 * Windows escapes nothing in a remote URL, so raw UTF-8 is accepted as well as percent-encoding.
 * @throws {BitsError} `invalid-destination` for an invalid encoding, or an encoded separator.
 */
export function decodePath(target: string): string {
  // Fast path: every packet has a target, and most have nothing to decode.
  if (/^\/[^%?#\u0080-\u00ff]*$/.test(target)) return target
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '')
  if (!path.startsWith('/')) throw refuse('it is not a path')
  return path.split('/').map(decodeSegment).join('/')
}

function decodeSegment(segment: string): string {
  // node:http passes the bytes of the request line as Latin-1.
  const escaped = segment.replace(/[\u0080-\u00ff]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)
  let decoded: string
  try {
    decoded = decodeURIComponent(escaped)
  } catch {
    throw refuse('its percent-encoding is not UTF-8')
  }
  if (decoded.includes('/')) throw refuse('it contains an encoded separator')
  return decoded
}
