import { BitsError } from './errors.ts'

/** Windows' limit for a remote URL (sdk-api: BG_FILE_INFO). */
const MaxPath = 2200
/** The limit of a name in a folder on every file system in use, in bytes of UTF-8. */
const MaxSegment = 255

// Separators and wildcards of Windows, controls of ASCII and Latin-1, and the controls of text direction, which
// make `gpj.exe` read as `exe.jpg`.
// biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what it looks for
const forbidden = /[\\/:*?"<>|\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/
const device = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])$/i

const refuse = (reason: string): BitsError =>
  new BitsError('invalid-destination', `The destination is refused: ${reason}`)

/**
 * Checks the name of an upload: segments joined with `/`. Names are refused, never rewritten, and by the same rules on
 * every platform: what one server took must not be a device, a stream or another folder on the next.
 * @throws {BitsError} `invalid-destination`, with the reason.
 */
export function checkName(name: string): string {
  if (name.length > MaxPath) throw refuse(`it is longer than ${MaxPath} characters`)
  for (const segment of name.split('/')) checkSegment(segment)
  return name
}

function checkSegment(segment: string): void {
  if (segment === '') throw refuse('it is a directory')
  if (segment === '.' || segment === '..') throw refuse('dot segments are not resolved')
  if (forbidden.test(segment)) throw refuse('it has a character that no file name may have')
  if (!segment.isWellFormed()) throw refuse('it is not Unicode')
  if (/[. ]$/.test(segment)) throw refuse('Windows drops a dot or space at the end of a name')
  if (Buffer.byteLength(segment) > MaxSegment) throw refuse(`a segment is longer than ${MaxSegment} bytes`)
  // `nul.txt` and `nul .txt` are the device too.
  const base = segment.split('.', 1)[0]?.trimEnd() ?? ''
  if (device.test(base)) throw refuse(`${base} is a device of Windows`)
}

/**
 * The path of a request target, without query, each segment decoded once: `/a%20b/c?d` is `/a b/c`.
 * Windows escapes nothing in a remote URL, so raw UTF-8 is taken as well as percent-encoding.
 * @throws {BitsError} `invalid-destination` for an encoding that is none, or that hides a separator.
 */
export function decodePath(target: string): string {
  // Most have nothing to decode, and every packet has one.
  if (/^\/[^%?#\u0080-\u00ff]*$/.test(target)) return target
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '').replace(/[?#].*$/s, '')
  if (!path.startsWith('/')) throw refuse('it is not a path')
  return path.split('/').map(decodeSegment).join('/')
}

function decodeSegment(segment: string): string {
  // node:http hands over the bytes of the request line as Latin-1.
  const escaped = segment.replace(/[\u0080-\u00ff]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)
  let decoded: string
  try {
    decoded = decodeURIComponent(escaped)
  } catch {
    throw refuse('its percent-encoding is not UTF-8')
  }
  if (decoded.includes('/')) throw refuse('it has an encoded separator')
  return decoded
}
