import { crc32 } from 'node:zlib'
import { BitsError } from '../protocol/errors.ts'
import type { Decision, Session, SessionState } from './store.ts'

/** The fields of a saved session that its state depends on. */
interface StateFields {
  readonly total?: number
  readonly accepted?: Decision | null
  readonly rejected?: string
  readonly published?: true
}

/**
 * The state of a saved session.
 * @param held bytes that are certain to exist; undefined if no bytes were ever written, or the data file is
 * missing
 */
export function stateOf(fields: StateFields, held: number | undefined): SessionState {
  if (fields.published) return 'published'
  if (fields.rejected !== undefined) return 'rejected'
  if (fields.accepted?.publish === false) return 'accepted'
  if (held === undefined && fields.total !== undefined) return 'lost'
  if (!fields.accepted) return 'receiving'
  return held === fields.total ? 'accepted' : 'lost'
}

/** Whether no further step needs the bytes. */
export const isFinal = ({ published, rejected, accepted }: StateFields): boolean =>
  published === true || rejected !== undefined || accepted?.publish === false

/** Whether the bytes that may still exist are no longer needed. */
export const isDataObsolete = ({ state }: Session): boolean => state === 'published' || state === 'rejected'

/**
 * Checks the format of the saved data of a session, which begins with `{"version":`. Before its checksum, which another
 * format may not have.
 * @throws {BitsError} `store-failed` if a newer version of this package has written it
 */
export function checkFormat(text: string, id: string): void {
  const version = /^\{"version":(\d+)/.exec(text)?.[1] ?? '1'
  if (version === '1') return
  throw new BitsError(
    'store-failed',
    `The session ${id} has format ${version}, and this version of express-bits-upload reads format 1: use the version that wrote it`,
  )
}

/** The error for a session whose saved data another program, or the disk, has changed. */
export const corruptError = (id: string): BitsError =>
  new BitsError(
    'store-failed',
    `The saved data of the session ${id} is corrupt: restore it from a backup, or remove it`,
  )

/** A line of saved data: JSON, a tab and its CRC-32 as eight hexadecimal digits. JSON contains no tab. */
export function toCheckedLine(value: object): string {
  const json = JSON.stringify(value)
  return `${json}\t${checksumOf(json)}`
}

/**
 * Reads such a line. Undefined if it is only the beginning of one, which a crash leaves, or contains zeros, which a loss of
 * power leaves.
 * @param id of the session, for the error
 * @throws {BitsError} `store-failed` for a line in which a byte has changed
 */
// biome-ignore lint/suspicious/noExplicitAny: the caller checks the fields that it needs
export function readCheckedLine(text: string, id: string): any {
  const line = text.replace(/^\0+|\0+$/g, '')
  if (line.includes('\0\0')) return undefined
  const json = line.slice(0, -ChecksumLength)
  const checksum = line.slice(-ChecksumLength)
  if (checksum === `\t${checksumOf(json)}`) return parseJson(json)
  // The beginning of an object begins with a brace, has no complete checksum, and is no object.
  if ((line !== '' && !line.startsWith('{')) || /^\t[0-9a-f]{8}$/.test(checksum) || parseJson(json))
    throw corruptError(id)
  return undefined
}

/** The tab and the digits. */
const ChecksumLength = 9

const checksumOf = (json: string): string => crc32(json).toString(16).padStart(8, '0')

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
