import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import { checkKeys, isRecord } from '../checks.ts'
import type { HostId } from '../protocol/ack.ts'
import { asApplicationError } from '../protocol/errors.ts'
import { checkReplyUrl, replyReference } from '../protocol/reply-url.ts'
import type { Acceptance, Body, Session, Store } from '../stores/store.ts'
import type { Reply, UploadDecision } from './hooks.ts'

/** What the application said of an upload. `reply` may be empty, and is a reply then. */
export interface ReadDecision {
  readonly publish: boolean
  readonly reply: Reply | undefined
}

/** @throws {TypeError} for what is neither a decision nor a reply: to guess could publish what was not to be */
export function readDecision(said: unknown): ReadDecision {
  if (said === undefined) return { publish: true, reply: undefined }
  if (!isRecord(said) || 'file' in said || 'url' in said) return { publish: true, reply: checkReply(said) }
  checkKeys('onUpload', 'decision', said, ['reply', 'publish'])
  const { reply, publish = true } = said as UploadDecision
  if (typeof publish !== 'boolean') throw new TypeError("onUpload() returns true or false as 'publish'")
  return { publish, reply: reply === undefined ? undefined : checkReply(reply) }
}

function checkReply(said: unknown): Reply {
  const isReply =
    typeof said === 'string' ||
    said instanceof URL ||
    isBytes(said) ||
    (isRecord(said) && Object.keys(said).length === 1 && isAddress(said))
  if (isReply) return said as Reply
  throw new TypeError('onUpload() returns a string, bytes, a stream, a URL, { file }, { url }, or nothing')
}

const isBytes = (said: unknown): boolean =>
  said instanceof Uint8Array || (typeof said === 'object' && said !== null && Symbol.asyncIterator in said)

const isAddress = ({ file, url }: Record<string, unknown>): boolean =>
  (typeof file === 'string' && file !== '') || typeof url === 'string'

/** Has the store keep a reply, and tells what is to be remembered of it. */
export async function keepReply(store: Store, session: Session, reply: Reply): Promise<Acceptance['reply']> {
  if (reply instanceof URL) return { url: checkReplyUrl(reply.href) }
  if (isRecord(reply) && 'url' in reply) return { url: checkReplyUrl(reply.url) }
  // Written by the application where the store would put it.
  const isInPlace = isRecord(reply) && 'file' in reply && isSame(reply.file, store.paths?.(session).reply)
  const stream = reply instanceof Readable ? reply : undefined
  // It may fail before the store asks for its first byte: unheard, that would end the process.
  stream?.on('error', () => {})
  try {
    await store.keepReply(
      session,
      isInPlace ? undefined : bytesOf(reply as Exclude<Reply, URL | { url: string }>),
    )
  } finally {
    // A store that failed before it asked leaves it open.
    stream?.destroy()
  }
  return 'kept'
}

const isSame = (path: unknown, other: string | undefined): boolean =>
  typeof path === 'string' && resolve(path) === other

/** The batches of a reply. What goes wrong in reading it is the application's failure, not the store's. */
async function* bytesOf(reply: Exclude<Reply, URL | { url: string }>): Body & AsyncGenerator<Uint8Array[]> {
  if (typeof reply === 'string') return yield [Buffer.from(reply)]
  if (reply instanceof Uint8Array) return yield [reply]
  try {
    for await (const chunk of 'file' in reply ? createReadStream(reply.file) : reply) {
      if (typeof chunk !== 'string' && !(chunk instanceof Uint8Array)) {
        throw new TypeError('A reply is a stream of bytes or strings')
      }
      yield [Buffer.from(chunk)]
    }
  } catch (error) {
    throw asApplicationError(error)
  }
}

/**
 * What BITS-Reply-URL is to say. Where a Host-Id keeps sessions on their nodes, the host that the job names may lead to
 * another node, which has no such reply: so it names this one.
 * @param url of the Fragment, as the client wrote it
 */
export function replyUrl(
  { reply }: Acceptance,
  { id }: Session,
  url: string,
  hostId: HostId | undefined,
): string | undefined {
  if (reply !== 'kept') return reply?.url
  const reference = replyReference(id)
  if (!hostId) return reference
  const absolute = new URL(reference, url)
  absolute.hostname = hostId.host.includes(':') ? `[${hostId.host.replace(/^\[|\]$/g, '')}]` : hostId.host
  return absolute.href
}
