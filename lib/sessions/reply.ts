import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import type { HostId } from '../protocol/ack.ts'
import { asApplicationError } from '../protocol/errors.ts'
import { checkReplyUrl, replyReference } from '../protocol/reply-url.ts'
import type { Body, Decision, Session, Store } from '../stores/store.ts'
import { assertKnownKeys, isPlainObject } from '../validate.ts'
import type { Reply, UploadDecision } from './hooks.ts'

/** The result of `onUpload`. An empty `reply` is a reply, too. */
export interface ParsedDecision {
  readonly publish: boolean
  readonly reply: Reply | undefined
}

/** @throws {TypeError} for a value that is neither a decision nor a reply, because a guess could publish a rejected file */
export function parseDecision(returned: unknown): ParsedDecision {
  if (returned === undefined) return { publish: true, reply: undefined }
  if (!isPlainObject(returned) || 'file' in returned || 'url' in returned)
    return { publish: true, reply: checkReply(returned) }
  assertKnownKeys('onUpload', 'decision', returned, ['reply', 'publish'])
  const { reply, publish = true } = returned as UploadDecision
  if (typeof publish !== 'boolean') throw new TypeError("onUpload() returns true or false as 'publish'")
  return { publish, reply: reply === undefined ? undefined : checkReply(reply) }
}

function checkReply(returned: unknown): Reply {
  const isReply =
    typeof returned === 'string' ||
    returned instanceof URL ||
    isBytes(returned) ||
    (isPlainObject(returned) && Object.keys(returned).length === 1 && isAddress(returned))
  if (isReply) return returned as Reply
  throw new TypeError('onUpload() returns a string, bytes, a stream, a URL, { file }, { url }, or nothing')
}

const isBytes = (returned: unknown): boolean =>
  returned instanceof Uint8Array ||
  (typeof returned === 'object' && returned !== null && Symbol.asyncIterator in returned)

const isAddress = ({ file, url }: Record<string, unknown>): boolean =>
  (typeof file === 'string' && file !== '') || typeof url === 'string'

/** Saves a reply in the store, and returns the `reply` of the decision. */
export async function saveReply(store: Store, session: Session, reply: Reply): Promise<Decision['reply']> {
  if (reply instanceof URL) return { url: checkReplyUrl(reply.href) }
  if (isPlainObject(reply) && 'url' in reply) return { url: checkReplyUrl(reply.url) }
  // The application wrote it to the path where the store saves replies.
  const isInPlace =
    isPlainObject(reply) && 'file' in reply && isSamePath(reply.file, store.paths?.(session).reply)
  const stream = reply instanceof Readable ? reply : undefined
  // The stream may fail before the store reads it; without a listener that would be an uncaught exception.
  stream?.on('error', () => {})
  try {
    await store.saveReply(
      session,
      isInPlace ? undefined : replyBatches(reply as Exclude<Reply, URL | { url: string }>),
    )
  } finally {
    // A store that failed before it read the stream leaves it open.
    stream?.destroy()
  }
  return 'stored'
}

const isSamePath = (path: unknown, other: string | undefined): boolean =>
  typeof path === 'string' && resolve(path) === other

/** The batches of a reply. An error in reading it is an error of the application, not of the store. */
async function* replyBatches(
  reply: Exclude<Reply, URL | { url: string }>,
): Body & AsyncGenerator<Uint8Array[]> {
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
 * The value of BITS-Reply-URL. If the server has a Host-Id, the URL names that host, because the host of the client's job
 * may lead to another node, which does not have the reply.
 * @param url URL of the Fragment, as the client wrote it
 */
export function replyUrl(
  { reply }: Decision,
  { id }: Session,
  url: string,
  hostId: HostId | undefined,
): string | undefined {
  if (reply !== 'stored') return reply?.url
  const reference = replyReference(id)
  if (!hostId) return reference
  const absolute = new URL(reference, url)
  absolute.hostname = hostId.host.includes(':') ? `[${hostId.host.replace(/^\[|\]$/g, '')}]` : hostId.host
  return absolute.href
}
