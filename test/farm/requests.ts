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
  /** The first part of the key after `.bits-sessions/`, or of the prefix of a listing. */
  readonly folder: string | undefined
  /** The next part. */
  readonly name: string | undefined
  /**
   * For requests that add a block to a blob: whether they contain its bytes, or make the service copy them.
   */
  readonly block: 'sent' | 'copied' | undefined
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
  const { searchParams } = new URL(request.path, 'http://service')
  const [, folder, name] = /\.bits-sessions\/(\w+)\/([^/?&]*)/.exec(decodeURIComponent(request.path)) ?? []
  const block = request.hasHeader('x-ms-copy-source') ? 'copied' : 'sent'
  return {
    kind: kindOf(request.method, searchParams),
    folder,
    name,
    block: searchParams.get('comp') === 'block' ? block : undefined,
  }
}

function kindOf(method: string, query: URLSearchParams): Kind {
  if (method === 'DELETE' || query.has('delete')) return 'removals'
  if (method === 'HEAD') return 'reads'
  if (method !== 'GET') return 'writes'
  return query.has('list-type') || query.has('uploads') || query.get('comp') === 'list' ? 'lists' : 'reads'
}

/**
 * Whether a node sends a request for its locks, independent of packets: its heartbeat, and its poll for
 * release requests.
 */
export const isLockRequest = ({ folder }: SentRequest): boolean => folder === 'nodes' || folder === 'wants'

/**
 * Counts the requests of each kind. Azurite refuses to copy blocks, so that the store reads and sends each
 * block instead. On a service that copies blocks this is one write, and it is counted as one.
 */
export function count(sent: readonly SentRequest[]): Counts {
  const blocks = sent.filter(({ block }) => block === 'sent').length
  const refused = blocks > 0 ? sent.filter(({ block }) => block === 'copied').length : 0
  const counts = { writes: 0 - refused, reads: 0 - blocks, lists: 0, removals: 0 }
  for (const { kind } of sent) counts[kind] += 1
  return counts
}
