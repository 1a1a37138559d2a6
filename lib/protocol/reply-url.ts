import { BitsError } from './errors.ts'
import { MaxUrl } from './headers.ts'
import { readGuid } from './packet.ts'

/**
 * The URL of the reply to a session's upload, relative to the destination. It has the form that IIS sends and
 * that Windows was seen to resolve against the host of the job ([MC-BUP] 4.2), but with slashes and escapes
 * of a valid URL. It is relative because a server behind a proxy does not know its public scheme, name and
 * prefix.
 */
export const replyReference = (id: string): string =>
  `BITS-Sessions/Replies/${encodeURIComponent(id)}/responsefile.bin`

const replyPath =
  /^([^?#]*\/)BITS-Sessions\/Replies\/(?:\{|%7b)([0-9a-f-]{36})(?:\}|%7d)\/responsefile\.bin(?:\?.*)?$/is

/** Parses a request target made with {@link replyReference}; returns undefined for any other. */
export function readReplyTarget(
  target: string,
): { readonly id: string; readonly folder: string } | undefined {
  const [, folder, guid] = replyPath.exec(target) ?? []
  const id = readGuid(`{${guid}}`)
  return id !== undefined && folder !== undefined ? { id, folder } : undefined
}

/**
 * Checks the URL of a reply on another server. It is sent to the client unchanged.
 * @throws {BitsError} `invalid-reply`
 */
export function checkReplyUrl(url: unknown): string {
  const isUrl = typeof url === 'string' && /^https?:\/\/[\x21-\x7e]+$/i.test(url) && URL.canParse(url)
  if (!isUrl)
    throw new BitsError('invalid-reply', 'The URL of a reply must be absolute, with http: or https:')
  if (url.length > MaxUrl) {
    throw new BitsError('invalid-reply', `The URL of a reply is longer than ${MaxUrl} characters`)
  }
  return url
}
