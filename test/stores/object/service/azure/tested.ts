import type { ContainerClient } from '@azure/storage-blob'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import type { TestedSpace } from '../contract/tested.ts'

/** What the contract suite of object services takes, for a container. */
export const tested = (container: ContainerClient): TestedSpace => ({
  space: createAzureService(container),
  below: (prefix) => createAzureService(container, { prefix }),
  contentType: async (key) => (await container.getBlobClient(key).getProperties()).contentType,
})
