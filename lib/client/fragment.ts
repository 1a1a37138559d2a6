import { UploadError } from './errors.ts'
import type { PacketClient } from './packet-client.ts'
import { RetryableError } from './response-policy.ts'
import type { OpenSource } from './source.ts'

/** The bytes of a Fragment, from `start` (inclusive) to `end` (exclusive), and its session. */
export interface FragmentOptions {
  readonly start: number
  readonly end: number
  readonly sessionId: string
}

/**
 * Sends a Fragment.
 * @returns the offset that the server expects next, and the URL of its reply
 * @throws {RetryableError} also for an offset beyond the end of the file
 */
export async function sendFragment(
  packetClient: PacketClient,
  source: OpenSource,
  { start, end, sessionId }: FragmentOptions,
  url: URL,
  onSent: (bytes: number) => void,
): Promise<{ readonly received: number; readonly replyUrl: string | undefined }> {
  const total = source.size
  const range = { start, end, total, read: () => source.read(start, end) }
  const { received = 0, replyUrl } = await packetClient
    .send({ type: 'Fragment', sessionId, range }, url, onSent)
    .catch((error) => {
      throw total === 0 ? emptyFileError(error) : error
    })
  if (received > total) {
    const reason = `An answer was discarded: it expects byte ${received} of ${total}`
    throw new RetryableError('retry', reason, { malformed: true })
  }
  return { received, replyUrl }
}

/** Maps `invalid-request`, which a server without support for empty files answers, to `empty-file`. */
const emptyFileError = (error: unknown): unknown =>
  error instanceof UploadError && error.code === 'invalid-request'
    ? new UploadError('empty-file', undefined, error)
    : error

/** Size below which fragments do not shrink, in bytes: "Min 5 KB" ([MC-BUP] product note 16). */
export const SmallestFragment = 5 * 1024
/** Default maximum, in bytes: "Max 13 MB" ([MC-BUP] product note 10). */
export const LargestFragment = 13 * 1024 * 1024
/** Size of the first fragment, in bytes: small enough for any proxy, and five doublings below the largest. */
const InitialFragment = 512 * 1024

/** An Ack within these milliseconds doubles the size: most of such a short round trip is waiting. */
const FastAckMs = 2_000
/** An Ack after these milliseconds halves the size: a break would lose much of such a long transfer. */
const SlowAckMs = 20_000

/** The size of the next fragment and its bounds, in bytes. */
export interface FragmentSize {
  readonly next: number
  readonly smallest: number
  readonly largest: number
}

export const initialSize = (largest: number): FragmentSize => ({
  next: Math.min(InitialFragment, largest),
  smallest: Math.min(SmallestFragment, largest),
  largest,
})

const clampSize = (size: FragmentSize, next: number): FragmentSize => ({
  ...size,
  next: Math.min(size.largest, Math.max(size.smallest, Math.floor(next))),
})

/** The size after a fragment of `length` bytes that was acknowledged within `milliseconds`. */
export function grow(size: FragmentSize, length: number, milliseconds: number): FragmentSize {
  if (milliseconds > SlowAckMs) return clampSize(size, size.next / 2)
  // The last fragment of a file is shorter, and says nothing about the connection.
  return milliseconds < FastAckMs && length >= size.next ? clampSize(size, size.next * 2) : size
}

/** The size after a connection that failed during a fragment: half, so the next failure loses less. */
export const shrinkOnBreak = (size: FragmentSize): FragmentSize => clampSize(size, size.next / 2)

/**
 * The size after a 413 for `length` bytes; undefined if that was the smallest. Later fragments do not grow to
 * the refused size again.
 */
export function shrinkOnRefusal(size: FragmentSize, length: number): FragmentSize | undefined {
  if (length <= size.smallest) return undefined
  const largest = Math.max(size.smallest, Math.floor(length / 2))
  return clampSize({ ...size, largest }, largest)
}
