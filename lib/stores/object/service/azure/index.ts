import type { Readable } from 'node:stream'
import type { BlockBlobClient, ContainerClient } from '@azure/storage-blob'
import { inParallel } from '../parallel.ts'
import { abortOptions, type ObjectService, objectMissing } from '../service.ts'
import { createBlockStager } from './blocks.ts'
import {
  azureErrorCode,
  blobBody,
  decodeMetadata,
  download,
  etagOf,
  isBlobMissing,
  lazyReadable,
  propertiesOf,
  uploadBlob,
  withoutWriteToken,
} from './requests.ts'
import { blockIdOf, commitBlocks, newAzureId, putAzurePart } from './uploads.ts'

export interface AzureServiceOptions {
  /** Prefix of the names of all blobs, usually a name and `/`. Default: none */
  readonly prefix?: string
}

/** Removals at a time. */
const MaxBlobRemovals = 16

/** Largest number of blocks of a blob (page "Scalability and performance targets for Blob Storage"). */
const MaxBlocks = 50_000

/** The service accepts smaller blocks, but each takes a request and a line of the list. */
const MinBlockBytes = 65_536

/**
 * The object service in a container of Azure Blob Storage.
 *
 * The client's credential needs the permissions to read, write, delete and list blobs of the container
 * ("Storage Blob Data Contributor", or a shared access signature with `racwdl`). A blob that was written on a
 * condition has an additional metadata entry `bitswrite`.
 *
 * @param container must exist when `prepare` is called; it is never created here
 */
export function createAzureService(
  container: ContainerClient,
  { prefix = '' }: AzureServiceOptions = {},
): ObjectService {
  const blobAt = (key: string): BlockBlobClient => container.getBlockBlobClient(prefix + key)
  const keyOf = (name: string): string => name.slice(prefix.length)

  const read = (blob: BlockBlobClient, first: number, count: number): Readable =>
    lazyReadable(async function* (signal) {
      try {
        const { bytes } = await download(blob, { first, count, signal })
        yield* bytes
      } catch (error) {
        throw isBlobMissing(error) ? objectMissing(blob.name, error) : error
      }
    })

  const stage = createBlockStager(container, (source, size) => read(source, 0, size))

  return {
    minPartBytes: MinBlockBytes,
    maxParts: MaxBlocks,
    keepsUploads: false,
    equalParts: false,
    checksCompletion: true,

    async prepare() {
      const { origin, pathname } = new URL(container.url)
      const name = `"${container.containerName}" (${origin}${pathname})`
      try {
        // A signature for a container gives access to the list of blobs, but not to the container's
        // properties.
        await container.listBlobsFlat({ prefix }).byPage({ maxPageSize: 1 }).next()
      } catch (cause) {
        if (azureErrorCode(cause) === 'ContainerNotFound') {
          // The operator creates it, and decides on access, encryption and retention.
          throw new Error(`There is no container ${name}: create it before the store is used`, { cause })
        }
        throw new Error(`The container ${name} cannot be used: ${(cause as Error).message}`, { cause })
      }
    },

    async put(key, chunks, options = {}) {
      const blob = blobAt(key)
      const { body, size } = blobBody(chunks)
      return uploadBlob(blob, options, (writeOptions) => blob.upload(body, size, writeOptions))
    },

    async get(key, { signal } = {}) {
      try {
        const { version, bytes } = await download(blobAt(key), { signal })
        const chunks: Uint8Array[] = []
        for await (const chunk of bytes) chunks.push(chunk)
        return { bytes: Buffer.concat(chunks), version }
      } catch (error) {
        if (isBlobMissing(error)) return undefined
        throw error
      }
    },

    async head(key, { signal } = {}) {
      const found = await propertiesOf(blobAt(key), signal)
      return (
        found && {
          size: found.contentLength ?? 0,
          version: etagOf(found),
          modified: timeOf(found),
          metadata: decodeMetadata(withoutWriteToken(found.metadata ?? {})),
        }
      )
    },

    read(key, first, last) {
      return read(blobAt(key), first, last - first + 1)
    },

    async *list(keyPrefix, { signal } = {}) {
      const items = container.listBlobsFlat({ prefix: prefix + keyPrefix, ...abortOptions(signal) })
      for await (const { name, properties } of items) {
        yield { key: keyOf(name), size: properties.contentLength ?? 0, modified: timeOf(properties) }
      }
    },

    async *folders(keyPrefix, { signal } = {}) {
      const options = { prefix: prefix + keyPrefix, ...abortOptions(signal) }
      for await (const { kind, name } of container.listBlobsByHierarchy('/', options)) {
        if (kind === 'prefix') yield keyOf(name).slice(keyPrefix.length, -1)
      }
    },

    async remove(keys, { signal } = {}) {
      await inParallel(keys, MaxBlobRemovals, signal, (key, abortSignal) =>
        blobAt(key).deleteIfExists({ deleteSnapshots: 'include', abortSignal }),
      )
    },

    async createUpload(_key, options) {
      options?.signal?.throwIfAborted()
      return { id: newAzureId(), isRepeated: false }
    },

    putPart: (key, { upload }, chunks, options) => putAzurePart(blobAt(key), upload, chunks, options),

    async copyPart(key, { upload }, source, { signal } = {}) {
      signal?.throwIfAborted()
      const tag = newAzureId()
      const block = { id: blockIdOf(upload, tag), source: blobAt(source.key), size: source.size }
      await stage(blobAt(key), block, signal)
      return tag
    },

    async listParts() {
      throw new Error('Azure cannot list the parts of one upload')
    },

    async completeUpload(key, upload, tags, options = {}) {
      const blocks = tags.map((tag) => blockIdOf(upload, tag))
      await commitBlocks(blobAt(key), blocks, options)
    },

    /**
     * Does nothing: uncommitted blocks are no part of any blob. No request only discards them: it would have to
     * create an empty blob, or rewrite the existing one. The service discards them a week after the last one was
     * written, or when a blob of that name is written or committed (Microsoft's page "Understanding block blobs,
     * append blobs, and page blobs").
     */
    async abortUpload(_key, _upload, options) {
      options?.signal?.throwIfAborted()
    },

    async *listUploads(_prefix, options) {
      options?.signal?.throwIfAborted()
      yield* []
    },
  }
}

const timeOf = ({ lastModified }: { readonly lastModified?: Date }): number => lastModified?.getTime() ?? 0
