/** Records and counts the requests that this process sends to an object service. */
import diagnostics from 'node:diagnostics_channel'
import type { ClientRequest } from 'node:http'
import { onTestFinished } from 'vitest'

/** The kinds of requests that services count and charge for separately. */
export const kinds = ['writes', 'reads', 'lists', 'removals'] as const
type Kind = (typeof kinds)[number]

export type Counts = Readonly<Record<Kind, number>>

/** A request that was sent. */
export interface SentRequest {
  readonly kind: Kind
  /** Method and path, for messages. */
  readonly text: string
  /** Whether it lets the service copy an object into a block. */
  readonly isBlockCopy: boolean
  /** Whether it reads an object with the bytes of a part. */
  readonly isPartRead: boolean
}

/**
 * Records all requests to a bucket or container until the test ends, retries of the service's client
 * included.
 */
export function requestsTo(bucket: string): SentRequest[] {
  const sent: SentRequest[] = []
  const channel = 'http.client.request.start'
  const record = (message: unknown): void => {
    const { request } = message as { readonly request: ClientRequest }
    if (request.path.split(/[/?]/).includes(bucket)) sent.push(describe(request))
  }
  diagnostics.subscribe(channel, record)
  onTestFinished(() => void diagnostics.unsubscribe(channel, record))
  return sent
}

function describe(request: ClientRequest): SentRequest {
  const { pathname, searchParams } = new URL(request.path, 'http://service')
  const path = decodeURIComponent(pathname)
  return {
    kind: kindOf(request.method, searchParams),
    text: `${request.method} ${request.path}`,
    isBlockCopy: request.hasHeader('x-ms-copy-source'),
    isPartRead: request.method === 'GET' && path.includes('/bytes/part-'),
  }
}

function kindOf(method: string, query: URLSearchParams): Kind {
  if (method === 'DELETE' || query.has('delete')) return 'removals'
  if (method === 'HEAD') return 'reads'
  if (method !== 'GET') return 'writes'
  return query.has('list-type') || query.has('uploads') || query.get('comp') === 'list' ? 'lists' : 'reads'
}

/**
 * Counts the requests of each kind. Azurite refuses to copy blocks, so that the store reads and sends each
 * block instead. On a service that copies blocks this is one write, and it is counted as one. So nothing else may read parts.
 */
export function count(sent: readonly SentRequest[]): Counts {
  const counts = { writes: 0, reads: 0, lists: 0, removals: 0 }
  const isCopyRefused = sent.some(({ isBlockCopy }) => isBlockCopy)
  for (const { kind, isBlockCopy, isPartRead } of sent) {
    if (!isCopyRefused || (!isBlockCopy && !isPartRead)) counts[kind] += 1
  }
  return counts
}
