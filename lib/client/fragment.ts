import type { Conversation } from './conversation.ts'
import { UploadError } from './errors.ts'
import { Setback } from './setback.ts'
import type { Source } from './source.ts'

/** What a Fragment sends: the bytes from `start` up to, but not, `end`. */
export interface FragmentRange {
  readonly start: number
  readonly end: number
  readonly sessionId: string
}

/**
 * Sends a Fragment.
 * @returns the next byte that the server wants, and where its reply is
 * @throws {Setback} also for an offset that no server can want
 */
export async function sendFragment(
  conversation: Conversation,
  source: Source,
  { start, end, sessionId }: FragmentRange,
  url: URL,
  onSent: (bytes: number) => void,
): Promise<{ readonly received: number; readonly replyUrl: string | undefined }> {
  const total = source.size
  const piece = { start, end, total, read: () => source.read(start, end) }
  const { received = 0, replyUrl } = await conversation
    .say({ type: 'Fragment', sessionId, piece }, url, onSent)
    .catch((error) => {
      throw total === 0 ? asEmptyFile(error) : error
    })
  if (received > total) {
    const reason = `An answer was discarded: it wants byte ${received} of ${total}`
    throw new Setback('retry', reason, { wrong: true })
  }
  return { received, replyUrl }
}

/** A server that does not know what an empty file is calls the fragment invalid. */
const asEmptyFile = (error: unknown): unknown =>
  error instanceof UploadError && error.code === 'invalid-request'
    ? new UploadError('empty-file', undefined, error)
    : error
