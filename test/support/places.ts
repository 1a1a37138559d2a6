/** Object services as tests see them from outside: a bucket, or a container, of a test's own on a real server. */
import {
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  NoSuchKey,
} from '@aws-sdk/client-s3'
import { describe } from 'vitest'
import type { Store } from '../../lib/index.ts'
import { azureStore } from '../../lib/stores/object/azure.ts'
import { type S3StoreOptions, s3Store } from '../../lib/stores/object/s3.ts'
import { createAzureService } from '../../lib/stores/object/service/azure/index.ts'
import { createS3Service } from '../../lib/stores/object/service/s3/index.ts'
import type { ObjectService } from '../../lib/stores/object/service/service.ts'
import { azuriteService, temporaryContainer } from './azurite.ts'
import { describeS3, s3Service, temporaryBucket } from './ceph.ts'

/** An object as everybody sees it who uses the service. */
export interface SeenObject {
  readonly bytes: Buffer
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
}

/** Options of a store that one or both of the engines have. */
export type PlaceOptions = Partial<Omit<S3StoreOptions, 'client' | 'bucket'>>

/** A bucket, or a container, that goes with the test. */
export interface Place {
  /** What the example's nodes need to find it. */
  readonly env: NodeJS.ProcessEnv
  space(prefix?: string): ObjectService
  store(options?: PlaceOptions): Store
  /** What stands under a key; undefined if nothing does. */
  see(key: string, first?: number): Promise<SeenObject | undefined>
  /** Everything that stands there, in order. */
  keys(): Promise<string[]>
  /** Begins what makes one object of several, and does no more. */
  beginJoin(key: string): Promise<void>
  /** Unfinished uploads, which take space and are not listed. */
  unfinished(): Promise<string[]>
}

/** The services that there are stores for. */
export interface Engine {
  readonly name: string
  /** The program that stands for the service in tests. */
  readonly program: 'azurite' | 'ceph'
  /** A suite that needs the service: skipped where there is none, and says so. */
  readonly describe: (name: string, suite: () => void) => void
  open(): Promise<Place>
}

const azure: Engine = {
  name: 'Azure Blob Storage',
  program: 'azurite',
  describe,
  async open() {
    const container = await temporaryContainer()
    const keys = async (includeUncommitedBlobs: boolean): Promise<string[]> => {
      const names: string[] = []
      for await (const { name } of container.listBlobsFlat({ includeUncommitedBlobs })) names.push(name)
      return names
    }
    return {
      env: {
        STORE: 'azure',
        BUCKET: container.containerName,
        AZURE_STORAGE_CONNECTION_STRING: await azuriteService(),
      },
      space: (prefix = '') => createAzureService(container, { prefix }),
      store: (options) => azureStore({ container, ...options }),
      async see(key, first = 0) {
        const blob = container.getBlobClient(key)
        const found = await blob.download(first).catch((error) => {
          // From its end on there is nothing, and no empty answer for it.
          if (error.statusCode !== 404 && error.statusCode !== 416) throw error
          return error.statusCode === 416
            ? ({ metadata: {} } as Awaited<ReturnType<typeof blob.download>>)
            : undefined
        })
        if (!found) return undefined
        const chunks: Buffer[] = []
        for await (const chunk of found.readableStreamBody ?? []) chunks.push(Buffer.from(chunk))
        return {
          bytes: Buffer.concat(chunks),
          contentType: found.contentType,
          metadata: found.metadata ?? {},
        }
      },
      keys: () => keys(false),
      async beginJoin(key) {
        // As long as those that we make: all of a blob have to be.
        const id = Buffer.alloc(48, 'x').toString('base64')
        await container.getBlockBlobClient(key).stageBlock(id, 'abc', 3)
      },
      async unfinished() {
        const finished = new Set(await keys(false))
        return (await keys(true)).filter((key) => !finished.has(key))
      },
    }
  },
}

/** What the tests' own gateway is reached by. */
interface Service {
  readonly endpoint: string
  readonly region: string
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

const s3: Engine = {
  name: 'S3',
  program: 'ceph',
  describe: describeS3,
  async open() {
    const { client, bucket } = await temporaryBucket()
    const { endpoint, region, credentials } = (await s3Service()) as Service
    return {
      env: {
        STORE: 's3',
        BUCKET: bucket,
        AWS_ENDPOINT_URL_S3: endpoint,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
      space: (prefix = '') => createS3Service(client, { bucket, prefix }),
      store: (options) => s3Store({ client, bucket, ...options }),
      async see(key, first = 0) {
        const found = { Bucket: bucket, Key: key }
        try {
          const { Body, ContentType, Metadata } = await client.send(
            first === 0
              ? new GetObjectCommand(found)
              : new GetObjectCommand({ ...found, Range: `bytes=${first}-` }),
          )
          const bytes = Buffer.from((await Body?.transformToByteArray()) ?? [])
          return { bytes, contentType: ContentType, metadata: Metadata ?? {} }
        } catch (error) {
          if (error instanceof NoSuchKey) return undefined
          throw error
        }
      },
      async keys() {
        const names: string[] = []
        let token: string | undefined
        do {
          const page = await client.send(
            new ListObjectsV2Command({ Bucket: bucket, ...(token && { ContinuationToken: token }) }),
          )
          names.push(...(page.Contents ?? []).map(({ Key = '' }) => Key))
          token = page.NextContinuationToken
        } while (token)
        return names
      },
      async beginJoin(key) {
        await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }))
      },
      async unfinished() {
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
        return Uploads.map(({ Key = '' }) => Key)
      },
    }
  },
}

/** All object services. */
export const allEngines: readonly Engine[] = [azure, s3]

/** The object service of this vitest project, for `*.services.test.ts`: see vitest.config.ts. */
export const engines = allEngines.filter(({ program }) => program === process.env.OBJECT_SERVICE)
