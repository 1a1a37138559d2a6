import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { onTestFinished } from 'vitest'
import { createS3Service, type S3SpaceOptions } from '../../../../../lib/stores/object/service/s3/index.ts'
import type { ComposeSource, ObjectService } from '../../../../../lib/stores/object/service/service.ts'
import { noise } from '../../../../support/bytes.ts'
import { s3Service, temporaryBucket } from '../../../../support/ceph.ts'
import { type Fate, type Meddler, meddler, type Seen } from './meddler.ts'

export interface Scene extends Meddler {
  /** Reaches the gateway on the meddler's line. */
  readonly space: ObjectService
  /** The same, with nobody between. */
  readonly direct: ObjectService
  /** Of the gateway itself. */
  readonly client: S3Client
  readonly bucket: string
}

/** What all keys of a scene's spaces begin with. */
export const prefix = 'files/'

/** A space of its own on a line on which requests have these fates. */
export async function behind(
  fate: (seen: Seen) => Fate = () => 'pass',
  options: Partial<S3SpaceOptions> = {},
  config: S3ClientConfig = {},
): Promise<Scene> {
  const { client, bucket } = await temporaryBucket()
  const service = await s3Service()
  const line = await meddler(String(service.endpoint), fate)
  const meddled = new S3Client({ ...service, endpoint: line.url.href, ...config })
  onTestFinished(() => meddled.destroy())
  return {
    ...line,
    client,
    bucket,
    space: createS3Service(meddled, { bucket, prefix, ...options }),
    direct: createS3Service(client, { bucket, prefix }),
  }
}

/** Fates for requests of one kind, one after another; all others pass, and so do those that come after. */
export function fates(kind: (seen: Seen) => boolean, ...some: readonly Fate[]): (seen: Seen) => Fate {
  const left = some.values()
  return (seen) => (kind(seen) ? (left.next().value ?? 'pass') : 'pass')
}

/** Whether a request writes an object at once, or copies to it. */
export const writes = ({ method, url }: Seen): boolean =>
  method === 'PUT' && !url.search.includes('partNumber')

/** Whether a request makes an object of parts. */
export const completes = ({ method, url }: Seen): boolean =>
  method === 'POST' && url.searchParams.has('uploadId')

/** Whether a request looks for what a write left. */
export const looks = ({ method }: Seen): boolean => method === 'HEAD'

/** Two sources that can be joined. */
export async function twoSources(space: ObjectService): Promise<readonly ComposeSource[]> {
  await space.put('one', [noise(space.minSource)])
  await space.put('two', [noise(10)])
  return [
    { key: 'one', size: space.minSource },
    { key: 'two', size: 10 },
  ]
}
