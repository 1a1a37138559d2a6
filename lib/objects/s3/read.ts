import { Readable } from 'node:stream'
import { GetObjectCommand, HeadObjectCommand, type HeadObjectCommandOutput } from '@aws-sdk/client-s3'
import { type FoundObject, ObjectMissing, type SpaceOptions } from '../space.ts'
import { at, type Bucket, until } from './bucket.ts'
import { isMissing } from './errors.ts'
import { versionOf } from './etag.ts'
import { metadataOf } from './metadata.ts'

/** The answer to a request, undefined if what it asks for is not there. */
async function found<Answer>(request: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await request
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

export async function get(bucket: Bucket, key: string, { signal }: SpaceOptions = {}) {
  const answer = await found(bucket.client.send(new GetObjectCommand(at(bucket, key)), until(signal)))
  if (!answer) return undefined
  const bytes = Buffer.from((await answer.Body?.transformToByteArray()) ?? [])
  return { bytes, version: versionOf(answer) }
}

/** What the service tells of an object. */
export const look = (
  bucket: Bucket,
  key: string,
  signal: AbortSignal | undefined,
): Promise<HeadObjectCommandOutput | undefined> =>
  found(bucket.client.send(new HeadObjectCommand(at(bucket, key)), until(signal)))

export async function head(
  bucket: Bucket,
  key: string,
  { signal }: SpaceOptions = {},
): Promise<FoundObject | undefined> {
  const answer = await look(bucket, key, signal)
  return (
    answer && {
      size: answer.ContentLength ?? 0,
      version: versionOf(answer),
      modified: answer.LastModified?.getTime() ?? 0,
      metadata: metadataOf(answer.Metadata),
    }
  )
}

/** A range that the service does not know (`last` before `first`, or `first` behind the end) is its own error. */
export function read(bucket: Bucket, key: string, first: number, last: number): Readable {
  const stop = new AbortController()
  let chunks: AsyncIterator<Uint8Array> | undefined
  const ask = async (): Promise<AsyncIterator<Uint8Array>> => {
    const command = new GetObjectCommand({ ...at(bucket, key), Range: `bytes=${first}-${last}` })
    const answer = await found(bucket.client.send(command, until(stop.signal)))
    if (!answer) throw new ObjectMissing(`There is no object ${key}`)
    return (answer.Body as Readable)[Symbol.asyncIterator]()
  }
  return new Readable({
    async read() {
      try {
        chunks ??= await ask()
        const { done, value } = await chunks.next()
        this.push(done ? null : value)
      } catch (error) {
        this.destroy(error as Error)
      }
    },
    // The signal ends the request whether or not its answer has begun.
    destroy(error, callback) {
      stop.abort()
      callback(error)
    },
  })
}
