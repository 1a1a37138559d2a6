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

export const firstSize = (largest: number): FragmentSize => ({
  next: Math.min(First, largest),
  smallest: Math.min(SmallestFragment, largest),
  largest,
})

const within = (size: FragmentSize, next: number): FragmentSize => ({
  ...size,
  next: Math.min(size.largest, Math.max(size.smallest, Math.floor(next))),
})

/** After a fragment of `length` bytes that was acknowledged in so many milliseconds. */
export function afterAck(size: FragmentSize, length: number, milliseconds: number): FragmentSize {
  if (milliseconds > Slow) return within(size, size.next / 2)
  // The last fragment of a file is no measure of a line.
  return milliseconds < Fast && length >= size.next ? within(size, size.next * 2) : size
}

/** After a fragment that broke: what is lost with the next one is half of it. */
export const afterBreak = (size: FragmentSize): FragmentSize => within(size, size.next / 2)

/** After a 413 for `length` bytes; undefined if that was the smallest. It never grows back to what was refused. */
export function afterRefusal(size: FragmentSize, length: number): FragmentSize | undefined {
  if (length <= size.smallest) return undefined
  const largest = Math.max(size.smallest, Math.floor(length / 2))
  return within({ ...size, largest }, largest)
}
