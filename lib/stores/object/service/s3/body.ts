/** Bodies of requests that write. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import type { PutObjectCommand, S3Client, UploadPartCommand } from '@aws-sdk/client-s3'

/** The parts of an HTTP request of the SDK that are used here. */
interface BodyRequest {
  readonly protocol: string
  readonly headers: Record<string, string>
  readonly body?: unknown
}

/** Smaller bodies are joined, which costs less than a stream. */
const MinStreamedBytes = 2 ** 18

/** The fields of a request for its body, and a function that prepares its command. */
interface RequestBody {
  readonly fields: {
    readonly Body: Uint8Array
    readonly ContentLength?: number
    readonly ChecksumCRC32?: string
  }
  prepare(command: UploadPartCommand | PutObjectCommand): void
}

/**
 * The body of a request from its chunks.
 *
 * The SDK signs and repeats a body that is one buffer, but does not repeat a stream, and signs it in chunks with a
 * trailer, which some services do not support. Joining large bodies costs memory and a copy, and their SHA-256
 * costs most of the request's processor time. Therefore the SDK gets an empty body, the length, and the checksum
 * that it would compute; each time that it sends the request, a new stream of the chunks takes the place of the body.
 *
 * Over TLS the payload is not part of the signature (`UNSIGNED-PAYLOAD`), as when the SDK sends a stream.
 *
 * Processor time for 5 MiB in 80 chunks (Node 20): joined and signed 11.7 ms, streamed and signed 9.2 ms, streamed and
 * not signed 5.2 ms, the last without TLS.
 */
export async function s3Body(client: S3Client, chunks: readonly Uint8Array[]): Promise<RequestBody> {
  const size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  if (size < MinStreamedBytes) {
    const [first] = chunks
    const Body = first && chunks.length === 1 ? first : Buffer.concat(chunks, size)
    return { fields: { Body }, prepare() {} }
  }
  const needsChecksum = (await client.config.requestChecksumCalculation?.()) === 'WHEN_SUPPORTED'
  return {
    fields: {
      Body: new Uint8Array(0),
      ContentLength: size,
      ...(needsChecksum && { ChecksumCRC32: crc32Of(chunks) }),
    },
    prepare(command) {
      // The types of the commands differ, the middleware is the same.
      const middlewareStack = command.middlewareStack as PutObjectCommand['middlewareStack']
      middlewareStack.add(
        (next) => async (args) => {
          const { headers, protocol } = args.request as BodyRequest
          headers['x-amz-content-sha256'] = protocol === 'https:' ? 'UNSIGNED-PAYLOAD' : sha256Of(chunks)
          return next(args)
        },
        { step: 'build', name: 'payloadHash' },
      )
      // The last step before the request is sent, for each repetition.
      middlewareStack.add(
        (next) => async (args) => {
          const request = args.request as BodyRequest
          const body = Readable.from(chunks, { objectMode: false })
          const sent = Object.assign(Object.create(Object.getPrototypeOf(request)), request, { body })
          return next({ ...args, request: sent })
        },
        { step: 'deserialize', priority: 'low', name: 'streamedBody' },
      )
    },
  }
}

/** The CRC-32 of chunks, in the form of S3: big-endian, base64. */
function crc32Of(chunks: readonly Uint8Array[]): string {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(chunks.reduce((value, chunk) => crc32(chunk, value), 0))
  return sum.toString('base64')
}

function sha256Of(chunks: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const chunk of chunks) hash.update(chunk)
  return hash.digest('hex')
}
