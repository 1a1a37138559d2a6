import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  conditionFailed,
  type ObjectAttributes,
  type ObjectService,
  objectMissing,
  type Precondition,
  type PutOptions,
} from '../../lib/stores/object/service/service.ts'

/**
 * Differences between the services. Azure: each write has its own version, and a removal can have a
 * condition. S3: the version is the MD5 of the bytes, and a removal has no condition.
 */
export type Semantics = 'Azure' | 'S3'

interface StoredObject {
  readonly bytes: Buffer
  readonly version: string
  readonly modified: number
  readonly attributes: ObjectAttributes
}

/** The objects of a bucket, by key. */
export type Bucket = Map<string, StoredObject>

export interface MemoryObjectServiceOptions {
  /** Services with the same bucket share its objects. Default: a new bucket */
  readonly bucket?: Bucket
  readonly prefix?: string
  /** Default: `'Azure'` */
  readonly semantics?: Semantics
  /** Largest number of sources of one compose call. Default: 50,000, the limit of Azure */
  readonly maxSources?: number
}

const defaultAttributes: ObjectAttributes = { contentType: 'application/octet-stream', metadata: {} }

/**
 * An object service in this process. A request takes effect when it is called; its promise resolves some
 * callbacks later.
 */
export function memoryObjectService({
  bucket = new Map(),
  prefix = '',
  semantics = 'Azure',
  maxSources = 50_000,
}: MemoryObjectServiceOptions = {}): ObjectService {
  const find = (key: string): StoredObject | undefined => bucket.get(prefix + key)

  const check = (key: string, condition: Precondition | undefined): void => {
    if (condition === undefined) return
    const version = find(key)?.version
    if (condition === 'absent' ? version === undefined : version === condition.version) return
    throw conditionFailed(key)
  }

  const write = (key: string, bytes: Buffer, { condition, attributes, signal }: PutOptions): string => {
    signal?.throwIfAborted()
    check(key, condition)
    const version = semantics === 'S3' ? createHash('md5').update(bytes).digest('hex') : randomUUID()
    const modified = Date.now()
    bucket.set(prefix + key, { bytes, version, modified, attributes: attributes ?? defaultAttributes })
    return version
  }

  const bytesOf = (key: string): Buffer => {
    const found = find(key)
    if (!found) throw objectMissing(key)
    return found.bytes
  }

  /** The keys below the prefix of this service that begin with another prefix. */
  const keysOf = (keyPrefix: string): string[] =>
    [...bucket.keys()]
      .filter((key) => key.startsWith(prefix + keyPrefix))
      .sort()
      .map((key) => key.slice(prefix.length))

  return {
    minSourceBytes: 1,
    maxSources,

    async prepare() {},

    async put(key, chunks, options = {}) {
      return write(key, Buffer.concat(chunks), options)
    },

    async get(key, { signal } = {}) {
      signal?.throwIfAborted()
      const found = find(key)
      return found && { bytes: Buffer.from(found.bytes), version: found.version }
    },

    async head(key, { signal } = {}) {
      signal?.throwIfAborted()
      const found = find(key)
      if (!found) return undefined
      const { bytes, version, modified, attributes } = found
      return { size: bytes.length, version, modified, metadata: attributes.metadata }
    },

    read(key, first, last) {
      const bytes = async function* () {
        yield bytesOf(key).subarray(first, last + 1)
      }
      return Readable.from(bytes(), { objectMode: false })
    },

    async *list(keyPrefix, { signal } = {}) {
      signal?.throwIfAborted()
      for (const key of keysOf(keyPrefix)) {
        const found = find(key)
        if (found) yield { key, size: found.bytes.length, modified: found.modified }
      }
    },

    async *folders(keyPrefix, { signal } = {}) {
      signal?.throwIfAborted()
      const rests = keysOf(keyPrefix).map((key) => key.slice(keyPrefix.length))
      yield* new Set(rests.filter((rest) => rest.includes('/')).map((rest) => rest.replace(/\/.*/s, '')))
    },

    async remove(keys, { signal } = {}) {
      signal?.throwIfAborted()
      for (const key of keys) bucket.delete(prefix + key)
    },

    async removeIfVersion(key, version, { signal } = {}) {
      signal?.throwIfAborted()
      if (semantics === 'S3' || find(key)?.version === version) bucket.delete(prefix + key)
    },

    async compose(sources, key, options = {}) {
      if (sources.length > maxSources)
        throw new Error(`${sources.length} sources are more than ${maxSources}`)
      write(key, Buffer.concat(sources.map((source) => bytesOf(source.key))), options)
    },

    /** Does nothing: a compose call takes effect at once and leaves nothing unfinished. */
    async abortUploads(_key, { signal } = {}) {
      signal?.throwIfAborted()
    },
  }
}
