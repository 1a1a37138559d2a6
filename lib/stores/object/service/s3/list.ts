import { paginateListObjectsV2 } from '@aws-sdk/client-s3'
import { abortOptions, type ListedObject, type ServiceOptions } from '../service.ts'
import type { Bucket } from './requests.ts'

export async function* listObjects(
  bucket: Bucket,
  prefix: string,
  options: ServiceOptions = {},
): AsyncGenerator<ListedObject> {
  for await (const { Contents = [], EncodingType } of listPages(bucket, prefix, undefined, options)) {
    for (const { Key, Size = 0, LastModified } of Contents) {
      const key = decodeKey(Key, EncodingType).slice(bucket.prefix.length)
      yield { key, size: Size, modified: LastModified?.getTime() ?? 0 }
    }
  }
}

export async function* listFolders(
  bucket: Bucket,
  prefix: string,
  options: ServiceOptions = {},
): AsyncGenerator<string> {
  const { length } = `${bucket.prefix}${prefix}`
  for await (const { CommonPrefixes = [], EncodingType } of listPages(bucket, prefix, '/', options)) {
    for (const { Prefix } of CommonPrefixes) yield decodeKey(Prefix, EncodingType).slice(length, -1)
  }
}

const listPages = (bucket: Bucket, prefix: string, delimiter: '/' | undefined, { signal }: ServiceOptions) =>
  paginateListObjectsV2(
    { client: bucket.client },
    {
      Bucket: bucket.name,
      Prefix: `${bucket.prefix}${prefix}`,
      Delimiter: delimiter,
      // XML cannot represent some of the characters that keys may have.
      EncodingType: 'url',
    },
    abortOptions(signal),
  )

/**
 * Decodes a key of a list. S3 encodes a space as a plus sign. A service that does not support the encoding
 * leaves the encoding type out of its response.
 */
export const decodeKey = (text: string | undefined, encoding: string | undefined): string =>
  encoding === 'url' ? decodeURIComponent((text ?? '').replaceAll('+', ' ')) : (text ?? '')
