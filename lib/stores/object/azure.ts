import type { ContainerClient } from '@azure/storage-blob'
import type { Store } from '../store.ts'
import { type ObjectStoreOptions, objectStore, readObjectStoreOptions } from './options.ts'
import { createAzureService } from './service/azure/index.ts'

/** Options of {@link azureStore}. */
export interface AzureStoreOptions extends ObjectStoreOptions {
  /** A container that is there, of an account for blobs; it may hold other things, too. Account and credentials are the client's business. */
  readonly container: ContainerClient
}

/**
 * Keeps uploads in a container of Azure Blob Storage: any number of processes and machines may share it. A finished file
 * is the block blob `<prefix><name>`, with its content type, and with `session`, `size` and `owner` as metadata; all else
 * lies below `<prefix>.bits-sessions/`.
 *
 * @example app.use('/upload', bitsUpload({ store: azureStore({ container: service.getContainerClient('incoming') }) }))
 * @throws {TypeError} if an option is missing, unknown or out of range
 */
export function azureStore(options: AzureStoreOptions): Store {
  const read = readObjectStoreOptions('azureStore', options, ['container'])
  const { container, locker } = options
  if (typeof container?.getBlockBlobClient !== 'function') {
    throw new TypeError("azureStore: container is a ContainerClient of '@azure/storage-blob'")
  }
  const service = createAzureService(container, { prefix: read.prefix })
  return objectStore(service, read, { locker, isShared: true })
}
