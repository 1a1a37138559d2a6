import { UploadError } from './errors.ts'
import type { PacketClient } from './packet-client.ts'
import { RetryableError } from './response-policy.ts'
import type { OpenSource } from './source.ts'

/** What a Fragment sends: the bytes from `start` up to, but not, `end`. */
export interface FragmentOptions {
  readonly start: number
  readonly end: number
  readonly sessionId: string
}

/**
 * Sends a Fragment.
 * @returns the next byte that the server wants, and where its reply is
 * @throws {RetryableError} also for an offset that no server can want
 */
export async function sendFragment(
  packetClient: PacketClient,
  source: OpenSource,
  { start, end, sessionId }: FragmentOptions,
  url: URL,
  onSent: (bytes: number) => void,
): Promise<{ readonly received: number; readonly replyUrl: string | undefined }> {
  const total = source.size
  const piece = { start, end, total, read: () => source.read(start, end) }
  const { received = 0, replyUrl } = await packetClient
    .send({ type: 'Fragment', sessionId, range: piece }, url, onSent)
    .catch((error) => {
      throw total === 0 ? asEmptyFile(error) : error
    })
  if (received > total) {
    const reason = `An answer was discarded: it wants byte ${received} of ${total}`
    throw new RetryableError('retry', reason, { malformed: true })
  }
  return { received, replyUrl }
}

/** A server that does not know what an empty file is calls the fragment invalid. */
const asEmptyFile = (error: unknown): unknown =>
  error instanceof UploadError && error.code === 'invalid-request'
    ? new UploadError('empty-file', undefined, error)
    : error

/** "Min 5 KB": what a client shrinks to, at the least ([MC-BUP] product note 16). */
export const SmallestFragment = 5 * 1024
/** "Max 13 MB" ([MC-BUP] product note 10). */
export const LargestFragment = 13 * 1024 * 1024
/** Small enough for any proxy, and on a fast line five doublings away from the largest. */
const First = 512 * 1024

/** Milliseconds: below, a fragment's round trip is mostly waiting. */
const Fast = 2_000
/** Milliseconds: above, much is lost when the line breaks. */
const Slow = 20_000

/** How large the next fragment is to be, in bytes. */
export interface FragmentSize {
  readonly next: number
  readonly smallest: number
  readonly largest: number
}

export const initialSize = (largest: number): FragmentSize => ({
  next: Math.min(First, largest),
  smallest: Math.min(SmallestFragment, largest),
  largest,
})

const clampSize = (size: FragmentSize, next: number): FragmentSize => ({
  ...size,
  next: Math.min(size.largest, Math.max(size.smallest, Math.floor(next))),
})

/** After a fragment of `length` bytes that was acknowledged in so many milliseconds. */
export function grow(size: FragmentSize, length: number, milliseconds: number): FragmentSize {
  if (milliseconds > Slow) return clampSize(size, size.next / 2)
  // The last fragment of a file is no measure of a line.
  return milliseconds < Fast && length >= size.next ? clampSize(size, size.next * 2) : size
}

/** After a fragment that broke: what is lost with the next one is half of it. */
export const shrinkOnBreak = (size: FragmentSize): FragmentSize => clampSize(size, size.next / 2)

/** After a 413 for `length` bytes; undefined if that was the smallest. It never grows back to what was refused. */
export function shrinkOnRefusal(size: FragmentSize, length: number): FragmentSize | undefined {
  if (length <= size.smallest) return undefined
  const largest = Math.max(size.smallest, Math.floor(length / 2))
  return clampSize({ ...size, largest }, largest)
}
