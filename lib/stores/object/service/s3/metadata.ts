import { randomBytes } from 'node:crypto'
import { decodeValue, encodeValue } from '../metadata.ts'
import type { ObjectAttributes } from '../service.ts'

/** Most bytes of an object's metadata, names and values (S3 user guide, "User-defined object metadata"). */
const maxMetadata = 2048

/** The metadata that tells a write from all others. */
const WriteTokenKey = 'bits-write'

/**
 * A name for a write. The SDK repeats a request whose answer was lost, and a conditional one that succeeded fails when
 * repeated: by the mark the writer finds out that what it finds is what it wrote. Bytes cannot tell it, for another may
 * have written the same; nor can the ETag, which is not always made of the bytes.
 */
export const newWriteToken = (): string => randomBytes(12).toString('base64url')

/** The fields of a request that writes an object. */
export function attributeParams(description: ObjectAttributes | undefined, mark: string | undefined) {
  const metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(description?.metadata ?? {})) metadata[name] = encodeValue(value)
  if (mark) metadata[WriteTokenKey] = mark
  const size = Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (size > maxMetadata) {
    throw new RangeError(`S3 takes ${maxMetadata} bytes of metadata; these, percent-encoded, are ${size}`)
  }
  return { Metadata: metadata, ...(description && { ContentType: description.contentType }) }
}

/** The metadata of an object, as they were given. */
export function metadataOf(found: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { [WriteTokenKey]: _, ...metadata } = found
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, decodeValue(value)]))
}

/** Whether an object is what the write of this mark made. */
export const hasWriteToken = (found: Readonly<Record<string, string>> = {}, mark: string): boolean =>
  found[WriteTokenKey] === mark
