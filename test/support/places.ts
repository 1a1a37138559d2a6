/** A new bucket or container for each test, on a real server, and access to it without the store. */
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

/** An object as other users of the service see it. */
export interface SeenObject {
  readonly bytes: Buffer
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
}

/** Options of a store on one or both of the services. */
export type PlaceOptions = Partial<Omit<S3StoreOptions, 'client' | 'bucket'>>

/** A bucket or container that is removed after the test. */
export interface Place {
  /** The environment by which the example's nodes reach it. */
  readonly env: NodeJS.ProcessEnv
  service(prefix?: string): ObjectService
  store(options?: PlaceOptions): Store
  /** The object under a key, from byte `first` on; undefined if it does not exist. */
  see(key: string, first?: number): Promise<SeenObject | undefined>
  /** The keys of all objects, in order. */
  keys(): Promise<string[]>
  /** Leaves an unfinished upload to a key, as an interrupted compose call does. */
  beginUpload(key: string): Promise<void>
  /** The keys of unfinished uploads, which occupy storage and are not listed. */
  unfinished(): Promise<string[]>
  /** Called by a test that shifts `Date.now()` by so many milliseconds: the client signs requests with the true time. */
  setClockShift(ms: number): void
}

/** An object service for which there is a store. */
export interface Engine {
  readonly name: string
  /** The program that replaces the service in tests. */
  readonly program: 'azurite' | 'ceph'
  /** Defines a suite that needs the service. Where it is missing the suite is skipped and reported. */
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
      service: (prefix = '') => createAzureService(container, { prefix }),
      store: (options) => azureStore({ container, ...options }),
      async see(key, first = 0) {
        const blob = container.getBlobClient(key)
        const found = await blob.download(first).catch((error) => {
          // A range that begins at the end of the blob is refused with 416.
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
      async beginUpload(key) {
        // All ids of a blob must have the same length, so this one is as long as those of the store.
        const id = Buffer.alloc(48, 'x').toString('base64')
        await container.getBlockBlobClient(key).stageBlock(id, 'abc', 3)
      },
      async unfinished() {
        const finished = new Set(await keys(false))
        return (await keys(true)).filter((key) => !finished.has(key))
      },
      // The client uses `new Date()`.
      setClockShift() {},
    }
  },
}

/** The configuration of a client of the tests' gateway. */
interface GatewayConfig {
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
    const { endpoint, region, credentials } = (await s3Service()) as GatewayConfig
    return {
      env: {
        STORE: 's3',
        BUCKET: bucket,
        AWS_ENDPOINT_URL_S3: endpoint,
        AWS_REGION: region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
      },
      service: (prefix = '') => createS3Service(client, { bucket, prefix }),
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
      async beginUpload(key) {
        await client.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: key }))
      },
      async unfinished() {
        const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))
        return Uploads.map(({ Key = '' }) => Key)
      },
      setClockShift(ms) {
        client.config.systemClockOffset = -ms
      },
    }
  },
}

/** All object services. */
export const allEngines: readonly Engine[] = [azure, s3]

/** The object service of this vitest project, for `*.services.test.ts`: see vitest.config.ts. */
export const engines = allEngines.filter(({ program }) => program === process.env.OBJECT_SERVICE)
