import type { Readable } from 'node:stream'

export interface ServiceOptions {
  /** Aborted when nobody waits for the result any more. */
  readonly signal?: AbortSignal
}

/**
 * What has to be so for a write to happen: that nothing stands there, or that what stands there is what was seen. The
 * service decides, in one step with the write: of many who try at once one succeeds.
 */
export type Precondition = 'absent' | { readonly version: string }

/** What is told of an object to whoever finds it. */
export interface ObjectAttributes {
  readonly contentType: string
  /** Names in lower-case letters. Values of any characters: they are percent-encoded where the service takes only ASCII. */
  readonly metadata: Readonly<Record<string, string>>
}

export interface PutOptions extends ServiceOptions {
  readonly condition?: Precondition
  /** Undefined: bytes that are nobody's but ours. */
  readonly description?: ObjectAttributes
}

/** An object as it was found. */
export interface FoundObject {
  /** Bytes. */
  readonly size: number
  /** Another whenever its bytes are others; the same bytes may have the same one again (S3's ETag is their MD5). */
  readonly version: string
  /** Milliseconds since 1970, by the service's clock. Some services tell whole seconds. */
  readonly modified: number
  /** As it was given to `put` or `join`. */
  readonly metadata: Readonly<Record<string, string>>
}

/** An object in a list. */
export interface ListedObject {
  readonly key: string
  readonly size: number
  readonly modified: number
}

/** A whole object that becomes a stretch of another. */
export interface ComposeSource {
  readonly key: string
  readonly size: number
}

/** A condition was not met: nothing was written. */
export class ConditionFailed extends Error {
  override readonly name = 'ConditionFailed'
}

/** An object that was to be there is not. */
export class ObjectMissing extends Error {
  override readonly name = 'ObjectMissing'
}

/**
 * An object service in the words that S3 and Azure Blob share; a key is a name below the bucket (container) and the
 * prefix that its user chose. What was written is found at once by everybody who asks (both services promise that), and
 * an object is there whole or not at all. Calls reject with the service's own error, but for the two of this page.
 */
export interface ObjectService {
  /** Fewest bytes of a source that is not the last of its join. */
  readonly minSource: number
  /** Most sources of one join. */
  readonly maxSources: number

  /**
   * Asks the service, once, for what it might not keep its word on.
   * @throws Error that tells the operator what the service lacks
   */
  prepare(): Promise<void>

  /**
   * Writes an object, in one request.
   * @returns its version
   * @throws {ConditionFailed}
   */
  put(key: string, chunks: readonly Uint8Array[], options?: PutOptions): Promise<string>

  /** A small object, whole; undefined if there is none. */
  get(key: string, options?: ServiceOptions): Promise<{ bytes: Buffer; version: string } | undefined>

  /** What is known of an object; undefined if there is none. */
  head(key: string, options?: ServiceOptions): Promise<FoundObject | undefined>

  /** The bytes from `first` to `last`, inclusive; asked for when the stream is read. It fails with {@link ObjectMissing}. */
  read(key: string, first: number, last: number): Readable

  /** All objects whose keys begin so, in the order of their keys. */
  list(prefix: string, options?: ServiceOptions): AsyncIterable<ListedObject>

  /** What follows a prefix that ends with `/`, up to the next `/`, each once: what a disk would call its directories. */
  folders(prefix: string, options?: ServiceOptions): AsyncIterable<string>

  /** Removes objects. No error for those that are not there. */
  remove(keys: readonly string[], options?: ServiceOptions): Promise<void>

  /** Removes an object if it is of this version; where the service has no such request, without asking. No error if there is none. */
  removeIfVersion(key: string, version: string, options?: ServiceOptions): Promise<void>

  /**
   * Makes one object of several, behind one another; it appears under its key at once, whole. Copied inside the service
   * where it can do that. A join that dies may leave what nobody sees: `abandon` clears it away.
   *
   * `absent` is checked when it appears, where the service can; else before, so that joins to one key have to be kept
   * apart by the caller.
   * @throws {ConditionFailed}
   * @throws {ObjectMissing} a source is not there
   */
  compose(sources: readonly ComposeSource[], key: string, options?: PutOptions): Promise<void>

  /**
   * Clears away what joins left that died, to this key; to all keys that begin so, if it ends with `/` or is empty. No join
   * to them may be under way.
   */
  abortUploads(key: string, options?: ServiceOptions): Promise<void>
}

/** Below this lies all that is ours and no finished file, among the objects of whoever has the bucket. */
export const InternalPrefix = '.bits-sessions/'
