import type { Readable } from 'node:stream'

/**
 * An object service: the operations that S3 and Azure Blob Storage have in common. A key is a name below the
 * bucket (container) and the prefix that the application chose.
 *
 * A written object is visible to all readers at once (both services guarantee this), and never in part. Calls
 * reject with the error of the service's SDK, except for {@link ConditionFailed} and {@link ObjectMissing}.
 */
export interface ObjectService {
  /** Smallest size in bytes of a source of `compose`; the last source may be smaller. */
  readonly minSourceBytes: number
  /** Largest number of sources of one `compose` call. */
  readonly maxSources: number

  /**
   * Checks once that the service can be reached and supports what the store needs.
   * @throws Error that names what the service lacks, for the operator
   */
  prepare(): Promise<void>

  /**
   * Writes an object, in one request.
   * @returns its version
   * @throws {ConditionFailed}
   */
  put(key: string, chunks: readonly Uint8Array[], options?: PutOptions): Promise<string>

  /** Reads a small object completely; undefined if it does not exist. */
  get(key: string, options?: ServiceOptions): Promise<{ bytes: Buffer; version: string } | undefined>

  /** Reads size, version, time and metadata of an object; undefined if it does not exist. */
  head(key: string, options?: ServiceOptions): Promise<FoundObject | undefined>

  /**
   * The bytes from `first` to `last`, inclusive. The request is sent when the stream is read. If the object
   * does not exist, the stream fails with {@link ObjectMissing}.
   */
  read(key: string, first: number, last: number): Readable

  /** All objects whose keys begin with `prefix`, in the order of their keys. */
  list(prefix: string, options?: ServiceOptions): AsyncIterable<ListedObject>

  /**
   * The names of the folders below a prefix that ends with `/`: the part of a key from the prefix to the next
   * `/`. Each name comes once.
   */
  folders(prefix: string, options?: ServiceOptions): AsyncIterable<string>

  /** Removes objects. A missing object is no error. */
  remove(keys: readonly string[], options?: ServiceOptions): Promise<void>

  /**
   * Removes an object if it has this version. A service without conditional removals removes any version. A
   * missing object is no error.
   */
  removeIfVersion(key: string, version: string, options?: ServiceOptions): Promise<void>

  /**
   * Concatenates objects to a new object, which becomes visible at once and complete. The service copies the
   * bytes itself where it can. A call that is interrupted may leave an unfinished upload, which is not listed
   * and which `abortUploads` removes.
   *
   * The condition is checked in the same step as the object appears, where the service supports that.
   * Otherwise it is checked before, and the caller must run the calls for one key one after the other.
   * @throws {ConditionFailed}
   * @throws {ObjectMissing} a source does not exist
   */
  compose(sources: readonly ComposeSource[], key: string, options?: PutOptions): Promise<void>

  /**
   * Removes what interrupted `compose` calls left: for this key, or, if it ends with `/` or is empty, for all
   * keys that begin with it. No `compose` call for these keys may be running.
   */
  abortUploads(key: string, options?: ServiceOptions): Promise<void>
}

export interface ServiceOptions {
  /** Aborted when the caller no longer needs the result. */
  readonly signal?: AbortSignal
}

export interface PutOptions extends ServiceOptions {
  readonly condition?: Precondition
  /** Undefined for objects that only the store reads. */
  readonly attributes?: ObjectAttributes
}

/**
 * Condition of a write: no object exists under the key, or the object has this version. The service checks it
 * in the same step as it writes, so that one of several concurrent writers succeeds.
 */
export type Precondition = 'absent' | { readonly version: string }

/** Attributes of an object that every reader of the bucket sees. */
export interface ObjectAttributes {
  readonly contentType: string
  /**
   * Names are in lower-case letters. Values may have any characters: they are percent-encoded where the
   * service accepts only ASCII.
   */
  readonly metadata: Readonly<Record<string, string>>
}

/** Result of `head`. */
export interface FoundObject {
  /** Bytes. */
  readonly size: number
  /**
   * Changes when the bytes change. The same bytes may have the same version again (the ETag of S3 is their
   * MD5).
   */
  readonly version: string
  /** Milliseconds since 1970, by the clock of the service. Some services have a resolution of one second. */
  readonly modified: number
  /** As passed to `put` or `compose`. */
  readonly metadata: Readonly<Record<string, string>>
}

/** An entry of `list`. */
export interface ListedObject {
  readonly key: string
  readonly size: number
  readonly modified: number
}

/** A whole object whose bytes become part of another object. */
export interface ComposeSource {
  readonly key: string
  readonly size: number
}

/** The condition of a write was not met. Nothing was written. */
export class ConditionFailed extends Error {
  override readonly name = 'ConditionFailed'
}

/** An object that a call needs does not exist. */
export class ObjectMissing extends Error {
  override readonly name = 'ObjectMissing'
}

export const conditionFailed = (key: string, cause?: unknown): ConditionFailed =>
  new ConditionFailed(`The condition of the write to "${key}" was not met`, { cause })

export const objectMissing = (key: string, cause?: unknown): ObjectMissing =>
  new ObjectMissing(`There is no object "${key}"`, { cause })

/** Prefix of all objects of the store and its locks. Published files are never below it. */
export const InternalPrefix = '.bits-sessions/'

/** Options of an SDK call; the SDKs of both services name the signal alike. */
export const abortOptions = (signal: AbortSignal | undefined) => (signal ? { abortSignal: signal } : {})

/**
 * Encodes a metadata value for a header field, which holds printable ASCII and loses spaces at its ends.
 * @returns the value with all other characters, `%` and these spaces percent-encoded
 */
export const encodeValue = (value: string): string =>
  value.toWellFormed().replace(/[^\x20-\x7e]+|%|^ +| +$/gu, encodeURIComponent)

/**
 * Decodes a metadata value. Returns values with invalid percent-encoding, which other programs wrote,
 * unchanged.
 */
export function decodeValue(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
