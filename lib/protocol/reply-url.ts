import { BitsError } from './errors.ts'
import { readGuid } from './guid.ts'
import { MaxUrl } from './headers.ts'

/**
 * Where the reply to a session's upload is to be fetched, relative to the destination: the very form that IIS sends and
 * Windows was seen to resolve, against the host that the job names ([MC-BUP] 4.2), only with slashes and escapes as a URL
 * has them. Relative, for behind a proxy a server does not know its own scheme, name and prefix.
 */
export const replyReference = (id: string): string =>
  `BITS-Sessions/Replies/${encodeURIComponent(id)}/responsefile.bin`

const path =
  /^([^?#]*\/)BITS-Sessions\/Replies\/(?:\{|%7b)([0-9a-f-]{36})(?:\}|%7d)\/responsefile\.bin(?:\?.*)?$/is

/** The session's id and the destination's folder in a target that {@link replyReference} leads to; undefined for others. */
export function readReplyTarget(
  target: string,
): { readonly id: string; readonly folder: string } | undefined {
  const [, folder, guid] = path.exec(target) ?? []
  const id = readGuid(`{${guid}}`)
  return id !== undefined && folder !== undefined ? { id, folder } : undefined
}

/**
 * Checks the URL of a reply that stands elsewhere: it goes to the client as it is, and from there to whoever serves it.
 * @throws {BitsError} `invalid-reply`
 */
export function checkReplyUrl(url: unknown): string {
  const isUrl = typeof url === 'string' && /^https?:\/\/[\x21-\x7e]+$/i.test(url) && URL.canParse(url)
  if (!isUrl) throw new BitsError('invalid-reply', 'The URL of a reply is absolute, with http: or https:')
  if (url.length > MaxUrl) {
    throw new BitsError('invalid-reply', `The URL of a reply is longer than ${MaxUrl} characters`)
  }
  return url
}
