import type { ContainerClient } from '@azure/storage-blob'
import { azureSpace } from '../../../lib/objects/azure.ts'
import type { TestedSpace } from '../space/tested.ts'

/** What the contract suite of object services takes, for a container. */
export const tested = (container: ContainerClient): TestedSpace => ({
  space: azureSpace(container),
  below: (prefix) => azureSpace(container, { prefix }),
  contentType: async (key) => (await container.getBlobClient(key).getProperties()).contentType,
})
