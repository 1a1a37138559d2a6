import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
} from '@aws-sdk/client-s3'
import { inParallel } from '../parallel.ts'
import type { SpaceOptions } from '../space.ts'
import { at, type Bucket, until } from './bucket.ts'
import { isUploadMissing } from './errors.ts'

/** Requests at a time. */
const inFlight = 8

/** Aborts the multipart uploads to a key, or below it. Others to keys that begin so may be anybody's, and alive. */
export async function abandon(bucket: Bucket, key: string, { signal }: SpaceOptions = {}): Promise<void> {
  const { client, name } = bucket
  const begin = at(bucket, key).Key
  const isBelow = key === '' || key.endsWith('/')
  let page: ListMultipartUploadsCommandOutput | undefined
  do {
    // No EncodingType: Ceph encodes the keys then, but not the marker, and does not say that it does.
    const command = new ListMultipartUploadsCommand({
      Bucket: name,
      Prefix: begin,
      KeyMarker: page?.NextKeyMarker,
      UploadIdMarker: page?.NextUploadIdMarker,
    })
    page = await client.send(command, until(signal))
    const uploads = (page.Uploads ?? []).filter(({ Key }) => isBelow || Key === begin)
    await inParallel(uploads, inFlight, signal, async ({ Key, UploadId }, stop) => {
      const abort = new AbortMultipartUploadCommand({ Bucket: name, Key, UploadId })
      await client.send(abort, until(stop)).catch((error) => {
        if (!isUploadMissing(error)) throw error
      })
    })
  } while (page.IsTruncated)
}
