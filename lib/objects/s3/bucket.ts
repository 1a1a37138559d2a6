import type { S3Client } from '@aws-sdk/client-s3'

/** Where the objects of a space are. */
export interface Bucket {
  readonly client: S3Client
  readonly name: string
  /** What all keys begin with. */
  readonly prefix: string
}

/** An object, as requests name it. */
export const at = ({ name, prefix }: Bucket, key: string) => ({ Bucket: name, Key: `${prefix}${key}` })

/** An object, as copies name their source. */
export const sourceAt = ({ name, prefix }: Bucket, key: string) => ({
  CopySource: `${name}/${prefix}${key}`.split('/').map(encodeURIComponent).join('/'),
})

/** How long a request is waited for. */
export const until = (signal: AbortSignal | undefined) => (signal ? { abortSignal: signal } : {})
