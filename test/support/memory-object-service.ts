import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import {
  conditionFailed,
  type ObjectAttributes,
  type ObjectService,
  objectMissing,
  type PartPlace,
  type Precondition,
  type PutOptions,
  partsChanged,
  uploadMissing,
} from '../../lib/stores/object/service/service.ts'

/**
 * Differences between the services. Azure: each write has its own version, and an upload is no more than its
 * parts. S3: the version is the MD5 of the bytes, and an upload exists until it is completed or aborted.
 */
export type Semantics = 'Azure' | 'S3'

interface StoredObject {
  readonly bytes: Buffer
  readonly version: string
  readonly modified: number
  readonly attributes: ObjectAttributes
  /** Azure: the committed blocks. */
  readonly blocks?: StoredUpload['parts']
}

/** The objects of a bucket, by key. */
export type Bucket = Map<string, StoredObject>

/** An upload, with S3 semantics; for Azure, the blocks of all uploads to a key. */
interface StoredUpload {
  readonly key: string
  readonly created: number
  readonly attributes: ObjectAttributes | undefined
  /** By number (S3), or by tag (Azure). */
  readonly parts: Map<number | string, { readonly tag: string; readonly bytes: Buffer }>
}

/** The uploads of each bucket, by id; for Azure, by key. */
const uploadsOf = new WeakMap<Bucket, Map<string, StoredUpload>>()

export interface MemoryObjectServiceOptions {
  /** Services with the same bucket share its objects. Default: a new bucket */
  readonly bucket?: Bucket
  readonly prefix?: string
  /** Default: `'Azure'` */
  readonly semantics?: Semantics
  /** Default: 10,000 */
  readonly maxParts?: number
  /** Default: 5 MiB (S3), 64 KiB (Azure) */
  readonly minPartBytes?: number
  /** Whether the condition of a completion is checked. Default: true */
  readonly checksCompletion?: boolean
  /** Default: false */
  readonly equalParts?: boolean
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
  maxParts = 10_000,
  minPartBytes = semantics === 'S3' ? 5 * 2 ** 20 : 2 ** 16,
  checksCompletion = true,
  equalParts = false,
}: MemoryObjectServiceOptions = {}): ObjectService {
  const find = (key: string): StoredObject | undefined => bucket.get(prefix + key)

  const check = (key: string, condition: Precondition | undefined): void => {
    if (condition === undefined) return
    const version = find(key)?.version
    if (condition === 'absent' ? version === undefined : version === condition.version) return
    throw conditionFailed(key)
  }

  const write = (
    key: string,
    bytes: Buffer,
    { condition, attributes = defaultAttributes, signal }: PutOptions,
    blocks?: StoredUpload['parts'],
  ): string => {
    signal?.throwIfAborted()
    check(key, condition)
    const version = semantics === 'S3' ? createHash('md5').update(bytes).digest('hex') : randomUUID()
    const modified = Date.now()
    bucket.set(prefix + key, { bytes, version, modified, attributes, ...(blocks && { blocks }) })
    // Azure discards all uncommitted blocks of a blob that is written.
    if (semantics === 'Azure') uploads.delete(prefix + key)
    return version
  }

  const uploads = uploadsOf.get(bucket) ?? new Map<string, StoredUpload>()
  uploadsOf.set(bucket, uploads)

  const findUpload = (key: string, id: string): StoredUpload | undefined => {
    const upload = uploads.get(semantics === 'S3' ? id : prefix + key)
    return upload?.key === prefix + key ? upload : undefined
  }

  const putPart = (key: string, { upload: id, number }: PartPlace, bytes: Buffer): string => {
    if (semantics === 'Azure' && !findUpload(key, id)) {
      uploads.set(prefix + key, { ...newUpload(key), parts: new Map() })
    }
    const upload = findUpload(key, id)
    if (!upload) throw uploadMissing(key)
    const tag = semantics === 'S3' ? createHash('md5').update(bytes).digest('hex') : randomUUID()
    upload.parts.set(semantics === 'S3' ? number : id + tag, { tag, bytes })
    return tag
  }

  const newUpload = (key: string, attributes?: ObjectAttributes): StoredUpload => ({
    key: prefix + key,
    created: Date.now(),
    attributes,
    parts: new Map(),
  })

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
    minPartBytes,
    maxParts,
    keepsUploads: semantics === 'S3',
    equalParts,
    checksCompletion,

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

    async createUpload(key, { attributes, signal } = {}) {
      signal?.throwIfAborted()
      const id = randomUUID()
      if (semantics === 'S3') uploads.set(id, newUpload(key, attributes))
      return { id, isRepeated: false }
    },

    async putPart(key, part, chunks, { signal } = {}) {
      signal?.throwIfAborted()
      return putPart(key, part, Buffer.concat(chunks))
    },

    async copyPart(key, part, source, { signal } = {}) {
      signal?.throwIfAborted()
      return putPart(key, part, bytesOf(source.key))
    },

    async listParts(key, id, { signal } = {}) {
      signal?.throwIfAborted()
      if (semantics === 'Azure') throw new Error('Azure cannot list the parts of one upload')
      const upload = findUpload(key, id)
      if (!upload) return undefined
      const last = Math.max(0, ...[...upload.parts.keys()].map(Number))
      return Array.from({ length: last }, (_, i) => upload.parts.get(i + 1)?.tag)
    },

    async completeUpload(key, id, tags, options = {}) {
      options.signal?.throwIfAborted()
      const upload = findUpload(key, id)
      if (!upload && semantics === 'S3') throw uploadMissing(key)
      // The service of Azure also finds blocks that are committed.
      const blocks = new Map([...(find(key)?.blocks ?? []), ...(upload?.parts ?? [])])
      const parts = tags.map((tag, i) => {
        const part = semantics === 'S3' ? upload?.parts.get(i + 1) : blocks.get(id + tag)
        if (part?.tag === tag) return part
        throw semantics === 'S3' ? partsChanged(key) : uploadMissing(key)
      })
      const sizes = parts.slice(0, -1).map(({ bytes }) => bytes.length)
      if (tags.length > maxParts || (semantics === 'S3' && sizes.some((size) => size < minPartBytes))) {
        throw new Error(`${parts.length} parts, the first ones of ${sizes} bytes`)
      }
      if (equalParts && new Set(sizes).size > 1) {
        throw new Error('All parts except the last must have the same size')
      }
      const { condition } = options
      const attributes = semantics === 'S3' ? upload?.attributes : options.attributes
      write(
        key,
        Buffer.concat(parts.map(({ bytes }) => bytes)),
        { ...(checksCompletion && condition && { condition }), ...(attributes && { attributes }) },
        new Map(parts.map((part) => [id + part.tag, part])),
      )
      uploads.delete(semantics === 'S3' ? id : prefix + key)
    },

    async abortUpload(key, id, { signal } = {}) {
      signal?.throwIfAborted()
      if (semantics === 'S3' && findUpload(key, id)) uploads.delete(id)
    },

    async *listUploads(keyPrefix, { signal } = {}) {
      signal?.throwIfAborted()
      if (semantics !== 'S3') return
      for (const [id, { key, created }] of [...uploads]) {
        if (key.startsWith(prefix + keyPrefix)) yield { key: key.slice(prefix.length), id, created }
      }
    },
  }
}
