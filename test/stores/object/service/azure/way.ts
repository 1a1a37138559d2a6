import { ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob'

/** The service that a container is in. */
export const serviceOf = ({ url }: ContainerClient): URL => new URL('/', url)

/** The account that a container of Azurite is in. */
export function accountOf({ credential }: ContainerClient): StorageSharedKeyCredential {
  if (credential instanceof StorageSharedKeyCredential) return credential
  throw new TypeError('The client has no key')
}

/** The same container, by way of a server in between. */
export const byWayOf = ({ origin }: URL, container: ContainerClient): ContainerClient =>
  new ContainerClient(`${origin}${new URL(container.url).pathname}`, container.credential)
