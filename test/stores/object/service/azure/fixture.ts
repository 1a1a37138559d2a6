import { ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { createAzureService } from '../../../../../lib/stores/object/service/azure/index.ts'
import type { ServiceCapabilities, ServiceFixture } from '../contract/fixture.ts'

/** What Azurite does not support. */
export const azuriteCapabilities: Partial<ServiceCapabilities> = { discardsParts: false }

/** Fixture for the contract suite, over a container. */
export const azureFixture = (container: ContainerClient): ServiceFixture => ({
  service: createAzureService(container),
  below: (prefix) => createAzureService(container, { prefix }),
  contentType: async (key) => (await container.getBlobClient(key).getProperties()).contentType,
})

/** The URL of the server of a container. */
export const serverUrlOf = ({ url }: ContainerClient): URL => new URL('/', url)

/** The account of a container of Azurite. */
export function accountOf({ credential }: ContainerClient): StorageSharedKeyCredential {
  if (credential instanceof StorageSharedKeyCredential) return credential
  throw new TypeError('The client has no key')
}

/** The same container, reached through another server. */
export const viaServer = ({ origin }: URL, container: ContainerClient): ContainerClient =>
  new ContainerClient(`${origin}${new URL(container.url).pathname}`, container.credential)
