/**
 * A store on Azure Blob Storage. It needs `@azure/storage-blob`.
 *
 * @module express-bits-upload/azure
 */

import type { ContainerClient } from '@azure/storage-blob'
import { optionError } from '../../validate.ts'
import type { Store } from '../store.ts'
import { type ObjectStoreOptions, objectStore, readObjectStoreOptions } from './options.ts'
import { createAzureService } from './service/azure/index.ts'

/** Options of {@link azureStore}. */
export interface AzureStoreOptions extends ObjectStoreOptions {
  /**
   * Required. An existing container of a storage account with blobs, without a hierarchical namespace (Data Lake). It may
   * have other blobs, too. The client determines account and credentials, which need the role "Storage Blob Data
   * Contributor", or a shared access signature with `racwdl`.
   */
  readonly container: ContainerClient
}

/**
 * Stores uploads in a container of Azure Blob Storage, which any number of processes and machines may share. A
 * published file is the block blob `<prefix><name>`, with the content type of its file name extension and with the metadata
 * `session`, `size` and `owner` (up to a kilobyte). All other blobs of the store are below `<prefix>.bits-sessions/`.
 *
 * @example app.use('/upload', bitsUpload({ store: azureStore({ container: service.getContainerClient('incoming') }) }))
 * @throws {TypeError} if an option is missing, unknown or out of range
 */
export function azureStore(options: AzureStoreOptions): Store {
  const read = readObjectStoreOptions('azureStore', options, ['container'])
  const { container } = options
  if (typeof container?.getBlockBlobClient !== 'function') {
    throw optionError('azureStore', 'container', "a ContainerClient of '@azure/storage-blob'", container)
  }
  const service = createAzureService(container, { prefix: read.prefix })
  return objectStore(service, read)
}
