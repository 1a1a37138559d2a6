/**
 * A value of metadata as a header carries it: header fields take printable ASCII, and lose the spaces around it.
 * @returns itself if it is of that kind, else percent-encoded where it is not
 */
export const encodeValue = (value: string): string =>
  value.toWellFormed().replace(/[^\x20-\x7e]+|%|^ +| +$/gu, encodeURIComponent)

/** The value that was encoded; what is not of our making as it is. */
export function decodeValue(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
