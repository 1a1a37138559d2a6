import type { Readable } from 'node:stream'

/**
 * An object service: the operations that S3 and Azure Blob Storage have in common. A key is a name below the
 * bucket (container) and the prefix that the application chose.
 *
 * A written object is visible to all readers at once (both services guarantee this), and never in part. Calls
 * reject with the error of the service's SDK, except for {@link ConditionFailed},
 * {@link ObjectMissing}, {@link UploadMissing} and {@link PartsChanged}.
 */
export interface ObjectService {
  /** Smallest size in bytes of a part of an upload; the last part may be smaller. */
  readonly minPartBytes: number
  /** Largest number of parts of an upload. */
  readonly maxParts: number
  /**
   * Whether an upload exists at the service until it is completed or aborted, and its parts have numbers (S3). If not
   * (Azure), `createUpload` sends no request, a part never replaces another one, and the service discards the parts of
   * abandoned uploads itself: all parts of a key that a completion, or a `put`, of that key does not name, and all a week
   * after the last one was written.
   */
  readonly keepsUploads: boolean
  /** Whether all parts of an upload, except the last, must have the same size (R2). */
  readonly equalParts: boolean
  /**
   * Whether `completeUpload` checks its condition in the same step as the object appears. If not, it ignores the condition.
   * Known after `prepare`.
   */
  readonly checksCompletion: boolean

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
   * Begins an upload: an object whose bytes are written in parts, and which appears when it is completed.
   * @param attributes of the object; a service without {@link keepsUploads} takes those of `completeUpload`
   */
  createUpload(
    key: string,
    options?: ServiceOptions & { readonly attributes?: ObjectAttributes },
  ): Promise<CreatedUpload>

  /**
   * Writes a part, in one request. On a service with {@link keepsUploads} it replaces the part of the same number.
   * @param number of the part, from 1; without gaps in the end
   * @returns the tag of the part, at most 64 ASCII characters. With {@link keepsUploads} the same bytes usually have the same tag, other
   * bytes never; without, each call returns another one
   * @throws {UploadMissing}
   */
  putPart(
    key: string,
    part: PartPlace,
    chunks: readonly Uint8Array[],
    options?: ServiceOptions,
  ): Promise<string>

  /**
   * As `putPart`, with the bytes of a whole object of at least `minPartBytes`, except for the last part. The service copies them
   * itself where it can.
   * @throws {ObjectMissing} the source does not exist
   * @throws {UploadMissing}
   */
  copyPart(key: string, part: PartPlace, source: ComposeSource, options?: ServiceOptions): Promise<string>

  /**
   * The tags of the parts that an upload has now, by number from 1 (index 0); only for services with {@link keepsUploads}.
   * Undefined if the upload is missing.
   */
  listParts(
    key: string,
    upload: string,
    options?: ServiceOptions,
  ): Promise<(string | undefined)[] | undefined>

  /**
   * Makes the object appear, complete, with the parts of these tags, which have the numbers 1, 2, 3 and so on.
   *
   * An upload is completed at most once, except that a call without {@link keepsUploads} and without a condition writes the
   * same object again as long as it exists. Ceph resolves for an upload that is completed already if its object exists.
   * @param tags at least one
   * @throws {ConditionFailed} the upload can be completed with another condition
   * @throws {UploadMissing} also if the upload was completed already, by a request whose answer was lost
   * @throws {PartsChanged} the upload can be completed with the right tags. Ceph (release 16 at least) also requires that
   * the upload has no other parts
   */
  completeUpload(key: string, upload: string, tags: readonly string[], options?: PutOptions): Promise<void>

  /** Discards an upload and its parts. A missing upload is no error. Does nothing without {@link keepsUploads}. */
  abortUpload(key: string, upload: string, options?: ServiceOptions): Promise<void>

  /** The uploads to keys that begin with `prefix`, that are neither completed nor aborted. None without {@link keepsUploads}. */
  listUploads(prefix: string, options?: ServiceOptions): AsyncIterable<ListedUpload>
}

/** Result of `createUpload`. */
export interface CreatedUpload {
  /** At most 512 ASCII characters. */
  readonly id: string
  /** The SDK has sent the request more than once, so that another upload may exist, whose id is unknown. */
  readonly isRepeated: boolean
}

/** The upload and the number of a part. */
export interface PartPlace {
  readonly upload: string
  /** From 1. */
  readonly number: number
}

/** An entry of `listUploads`. */
export interface ListedUpload {
  readonly key: string
  readonly id: string
  /** When it was created: milliseconds since 1970, by the clock of the service. */
  readonly created: number
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
  /** As passed to `put`, `createUpload` or `completeUpload`. */
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

/** The upload does not exist: it was completed or aborted, or some of its parts were discarded. */
export class UploadMissing extends Error {
  override readonly name = 'UploadMissing'
}

/** Some parts of an upload do not have the tags that `completeUpload` was called with. Nothing was written. */
export class PartsChanged extends Error {
  override readonly name = 'PartsChanged'
}

export const uploadMissing = (key: string, cause?: unknown): UploadMissing =>
  new UploadMissing(`There is no upload to "${key}", or parts of it are missing`, { cause })

export const partsChanged = (key: string, cause?: unknown): PartsChanged =>
  new PartsChanged(`Parts of the upload to "${key}" were overwritten, or are missing`, { cause })

export const conditionFailed = (key: string, cause?: unknown): ConditionFailed =>
  new ConditionFailed(`The condition of the write to "${key}" was not met`, { cause })

export const objectMissing = (key: string, cause?: unknown): ObjectMissing =>
  new ObjectMissing(`There is no object "${key}"`, { cause })

/** Prefix of all objects of the store. Published files are never below it. */
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
