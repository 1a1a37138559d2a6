import { HeadObjectCommand, S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { onTestFinished } from 'vitest'
import { createS3Service, type S3ServiceOptions } from '../../../../../lib/stores/object/service/s3/index.ts'
import type { ObjectService } from '../../../../../lib/stores/object/service/service.ts'
import { s3Service, temporaryBucket } from '../../../../support/ceph.ts'
import type { ServiceCapabilities, ServiceFixture } from '../contract/fixture.ts'
import { type FaultProxy, faultProxy, type ProxiedRequest, type ProxyAction } from './fault-proxy.ts'

/** Prefix of all keys of these services. */
export const prefix = 'files/'

/**
 * What Ceph's gateway does not support. `percentInSources` is false because its release 16 decodes the key of
 * the object that a part is copied from twice.
 */
export const cephCapabilities: Partial<ServiceCapabilities> = {
  percentInSources: false,
  checksCompletion: false,
  unnamedParts: false,
}

/** Fixture for the contract suite, over a new bucket. */
export async function s3Fixture(config: S3ClientConfig, conditionalWrites: boolean): Promise<ServiceFixture> {
  const { bucket } = await temporaryBucket()
  const client = new S3Client({ ...(await s3Service()), ...config })
  onTestFinished(() => client.destroy())
  const below = (more: string) =>
    createS3Service(client, { bucket, prefix: `${prefix}${more}`, conditionalWrites })
  return {
    service: below(''),
    below,
    async contentType(key) {
      const found = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: `${prefix}${key}` }))
      return found.ContentType
    },
  }
}

export interface ProxyFixture extends FaultProxy {
  /** Reaches the gateway through the proxy. */
  readonly service: ObjectService
  /** The same objects, without the proxy. */
  readonly direct: ObjectService
  /** A client of the gateway, without the proxy. */
  readonly client: S3Client
  readonly bucket: string
}

/** A service in a new bucket, reached through a proxy that treats its requests as `action` says. */
export async function proxiedService(
  action: (request: ProxiedRequest) => ProxyAction = () => 'pass',
  options: Partial<S3ServiceOptions> = {},
  config: S3ClientConfig = {},
): Promise<ProxyFixture> {
  const { client, bucket } = await temporaryBucket()
  const gateway = await s3Service()
  const proxy = await faultProxy(String(gateway.endpoint), action)
  const proxiedClient = new S3Client({ ...gateway, endpoint: proxy.url.href, ...config })
  onTestFinished(() => proxiedClient.destroy())
  return {
    ...proxy,
    client,
    bucket,
    service: createS3Service(proxiedClient, { bucket, prefix, ...options }),
    direct: createS3Service(client, { bucket, prefix }),
  }
}

/** Actions for the first requests that match, one each. All other requests pass. */
export function actionsFor(
  matches: (request: ProxiedRequest) => boolean,
  ...actions: readonly ProxyAction[]
): (request: ProxiedRequest) => ProxyAction {
  const remaining = actions.values()
  return (request) => (matches(request) ? (remaining.next().value ?? 'pass') : 'pass')
}

/** Whether a request writes a whole object. */
export const isWrite = ({ method, url }: ProxiedRequest): boolean =>
  method === 'PUT' && !url.search.includes('partNumber')

/** Whether a request completes a multipart upload. */
export const isCompletion = ({ method, url }: ProxiedRequest): boolean =>
  method === 'POST' && url.searchParams.has('uploadId')

export const isHead = ({ method }: ProxiedRequest): boolean => method === 'HEAD'
