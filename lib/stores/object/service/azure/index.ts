import { Readable } from 'node:stream'
import type { BlockBlobClient, ContainerClient } from '@azure/storage-blob'
import { inParallel } from '../parallel.ts'
import type { ObjectService, ServiceOptions } from '../service.ts'
import { createBlockStager, joinBlobs, objectMissingError } from './blocks.ts'
import {
  decodeMetadata,
  download,
  errorCodeOf,
  etagOf,
  isBlobMissing,
  isPreconditionFailed,
  lazyReadable,
  propertiesOf,
  uploadBlob,
  withoutMark,
} from './requests.ts'

export interface AzureSpaceOptions {
  /** What the names of all blobs begin with, as a rule a name and `/`. Default: nothing */
  readonly prefix?: string
}

const removalsAtOnce = 16

/** By the page on scalability targets for Blob Storage. */
const maxBlocks = 50_000

/**
 * An object space in a container of Azure Blob Storage.
 *
 * Needed of the client's credential is to read, write, delete and list blobs of the container ("Storage Blob Data
 * Contributor", or a shared access signature with `racwdl`). A blob written on a condition has one more entry of
 * metadata, `bitswrite`.
 *
 * @param container need not be created yet before `prepare` is called; nothing here creates it
 */
export function createAzureService(
  container: ContainerClient,
  { prefix = '' }: AzureSpaceOptions = {},
): ObjectService {
  const blobAt = (key: string): BlockBlobClient => container.getBlockBlobClient(prefix + key)
  const keyOf = (name: string): string => name.slice(prefix.length)

  const read = (blob: BlockBlobClient, first: number, count: number): Readable =>
    lazyReadable(async function* (signal) {
      try {
        const { bytes } = await download(blob, { first, count, signal })
        yield* bytes
      } catch (error) {
        throw isBlobMissing(error) ? objectMissingError(blob, error) : error
      }
    })

  const stage = createBlockStager(container, (source, size) => read(source, 0, size))

  return {
    minSource: 1,
    maxSources: maxBlocks,

    async prepare() {
      const { origin, pathname } = new URL(container.url)
      const name = `"${container.containerName}" (${origin}${pathname})`
      try {
        // Not the container's properties: a signature for a container does not open those.
        await container.listBlobsFlat({ prefix }).byPage({ maxPageSize: 1 }).next()
      } catch (cause) {
        if (errorCodeOf(cause) === 'ContainerNotFound') {
          // Whoever creates it decides who may read it, how it is encrypted, and how long it is kept.
          throw new Error(`There is no container ${name}: it has to be created before it is used`, { cause })
        }
        throw new Error(`The container ${name} cannot be used: ${(cause as Error).message}`, { cause })
      }
    },

    async put(key, chunks, options = {}) {
      const blob = blobAt(key)
      const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      // A function, so that the SDK can send them again; not one buffer, which would be a copy of them all.
      const body = (): Readable => Readable.from(chunks, { objectMode: false })
      return uploadBlob(blob, options, (writing) => blob.upload(body, size, writing))
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
          metadata: decodeMetadata(withoutMark(found.metadata ?? {})),
        }
      )
    },

    read(key, first, last) {
      return read(blobAt(key), first, last - first + 1)
    },

    async *list(begin, options) {
      for await (const { name, properties } of container.listBlobsFlat({
        prefix: prefix + begin,
        ...abortSignalOptions(options),
      })) {
        yield { key: keyOf(name), size: properties.contentLength ?? 0, modified: timeOf(properties) }
      }
    },

    async *folders(begin, options) {
      const items = container.listBlobsByHierarchy('/', {
        prefix: prefix + begin,
        ...abortSignalOptions(options),
      })
      for await (const { kind, name } of items) {
        if (kind === 'prefix') yield keyOf(name).slice(begin.length, -1)
      }
    },

    async remove(keys, { signal } = {}) {
      await inParallel(keys, removalsAtOnce, signal, (key, abortSignal) =>
        blobAt(key).deleteIfExists({ deleteSnapshots: 'include', abortSignal }),
      )
    },

    async removeIfVersion(key, version, options) {
      try {
        await blobAt(key).delete({
          deleteSnapshots: 'include',
          conditions: { ifMatch: version },
          ...abortSignalOptions(options),
        })
      } catch (error) {
        if (!isPreconditionFailed(error)) throw error
      }
    },

    async compose(sources, key, options = {}) {
      const blobs = sources.map((source) => ({ blob: blobAt(source.key), size: source.size }))
      await joinBlobs(blobAt(key), blobs, options, stage)
    },

    /**
     * Does nothing: what joins leave are uncommitted blocks, which are no part of any blob. There is no request that
     * discards them and writes nothing: one would have to put an empty blob in their place, or to write a blob anew that
     * stands there. The service discards them a week after the last one came, or as soon as a blob of that name is
     * written or committed (Microsoft's page "Understanding block blobs, append blobs, and page blobs").
     */
    async abortUploads(_key, options) {
      options?.signal?.throwIfAborted()
    },
  }
}

const abortSignalOptions = ({ signal }: ServiceOptions = {}) => (signal ? { abortSignal: signal } : {})

const timeOf = ({ lastModified }: { readonly lastModified?: Date }): number => lastModified?.getTime() ?? 0
