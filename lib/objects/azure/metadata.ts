import { decodeValue, encodeValue } from '../metadata.ts'

/**
 * Metadata as the service takes them: all of them together at most 8 KB (the page on naming and referencing metadata). The
 * SDK does not give back a value that is empty.
 */
export const encodeMetadata = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  mapValues(metadata, encodeValue)

export const decodeMetadata = (metadata: Readonly<Record<string, string>>): Record<string, string> =>
  mapValues(metadata, decodeValue)

const mapValues = (record: Readonly<Record<string, string>>, map: (value: string) => string) =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, map(value)]))
