import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import { azureSpace } from '../../../lib/objects/azure.ts'
import { s3Space } from '../../../lib/objects/s3.ts'
import type { ObjectSpace } from '../../../lib/objects/space.ts'

/** Where a space is, as another process can be told. */
export type Place =
  | { readonly client: S3ClientConfig; readonly bucket: string }
  | { readonly connection: string; readonly container: string }

export const spaceAt = (place: Place): ObjectSpace =>
  'bucket' in place
    ? s3Space(new S3Client(place.client), { bucket: place.bucket })
    : azureSpace(new ContainerClient(place.connection, place.container))
