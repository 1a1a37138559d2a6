import { Readable } from 'node:stream'
import type { BlockBlobClient } from '@azure/storage-blob'
import { versionOf } from './answers.ts'

/** How often in a row a connection may break without having brought a byte. */
const maxBreaks = 5

interface Download {
  readonly version: string
  readonly bytes: AsyncGenerator<Uint8Array>
}

/**
 * Asks for a blob's bytes, which go on where a connection broke as long as the blob is the same. The SDK has code for
 * that, which never comes to it: Node tells of a break by the event 'aborted' first, and that ends the SDK's stream.
 * @param count left out: all that follow
 */
export async function download(
  blob: BlockBlobClient,
  { first = 0, count, signal }: { first?: number; count?: number; signal?: AbortSignal | undefined } = {},
): Promise<Download> {
  const ask = (at: number, bytes?: number, version?: string) =>
    blob.download(at, bytes, {
      ...(signal && { abortSignal: signal }),
      ...(version && { conditions: { ifMatch: version } }),
      maxRetryRequests: 0,
    })

  const answer = await ask(first, count)
  const version = versionOf(answer)
  const size = answer.contentLength ?? 0
  const end = first + size

  async function* bytes(): AsyncGenerator<Uint8Array> {
    let body = answer.readableStreamBody ?? []
    let breaks = 0
    for (let at = first; ; ) {
      try {
        for await (const chunk of body as AsyncIterable<Buffer>) {
          at += chunk.length
          breaks = 0
          yield chunk
        }
        break
      } catch (error) {
        if (at === end) break
        breaks += 1
        if (signal?.aborted || breaks > maxBreaks) throw error
      }
      body = (await ask(at, end - at, version)).readableStreamBody ?? []
    }
    // A request that sends them on would wait for the rest of what it announced.
    if (size < (count ?? 0)) throw new Error(`Of "${blob.name}" only ${size} of ${count} bytes are there`)
  }
  return { version, bytes: bytes() }
}

/** A stream that begins when it is read; to destroy it aborts what it waits for. */
export function lazily(begin: (signal: AbortSignal) => AsyncGenerator<Uint8Array>): Readable {
  const controller = new AbortController()
  const bytes = begin(controller.signal)
  const iterator = {
    next: () => bytes.next(),
    // A generator returns only when what it waits for has come to its end.
    async return() {
      controller.abort()
      return bytes.return(undefined)
    },
  }
  return Readable.from({ [Symbol.asyncIterator]: () => iterator }, { objectMode: false })
}
