import {
  CreateBucketCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3'
import { ContainerClient } from '@azure/storage-blob'
import type { ServiceName } from './cases.ts'

/** The bucket, or container, of a run. */
export interface Bucket {
  create(): Promise<void>
  /** The sizes of all objects by name. */
  list(): Promise<Map<string, number>>
  /** The names of objects whose upload by parts or blocks has begun and was not completed. */
  listUnfinished(): Promise<string[]>
  read(name: string, first: number, length: number): Promise<Buffer>
}

export const openBucket = (service: ServiceName, access: unknown, name: string): Bucket =>
  service === 'Ceph' ? s3Bucket(access as S3ClientConfig, name) : azureBucket(access as string, name)

function s3Bucket(access: S3ClientConfig, Bucket: string): Bucket {
  // Without this the SDK prints a warning about Node 20 in each process. Child processes inherit it.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'
  const client = new S3Client(access)
  return {
    async create() {
      await client.send(new CreateBucketCommand({ Bucket }))
    },
    async list() {
      const sizes = new Map<string, number>()
      for (let ContinuationToken: string | undefined; ; ) {
        const page = await client.send(new ListObjectsV2Command({ Bucket, ContinuationToken }))
        for (const { Key = '', Size = 0 } of page.Contents ?? []) sizes.set(Key, Size)
        ContinuationToken = page.NextContinuationToken
        if (ContinuationToken === undefined) return sizes
      }
    },
    async listUnfinished() {
      const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }))
      return Uploads.map(({ Key = '' }) => Key)
    },
    async read(Key, first, length) {
      const Range = `bytes=${first}-${first + length - 1}`
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key, Range }))
      return Buffer.from((await Body?.transformToByteArray()) ?? [])
    },
  }
}

function azureBucket(access: string, name: string): Bucket {
  const container = new ContainerClient(access, name)
  const namesOf = async (includeUncommitedBlobs: boolean): Promise<Map<string, number>> => {
    const sizes = new Map<string, number>()
    for await (const { name, properties } of container.listBlobsFlat({ includeUncommitedBlobs })) {
      sizes.set(name, properties.contentLength ?? 0)
    }
    return sizes
  }
  return {
    async create() {
      await container.create()
    },
    list: () => namesOf(false),
    async listUnfinished() {
      const [all, committed] = [await namesOf(true), await namesOf(false)]
      return [...all.keys()].filter((name) => !committed.has(name))
    },
    read: (name, first, length) => container.getBlobClient(name).downloadToBuffer(first, length),
  }
}
