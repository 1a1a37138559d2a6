/** Records and counts the requests that this process sends to an object service. */
import diagnostics from 'node:diagnostics_channel'
import type { ClientRequest } from 'node:http'
import { onTestFinished } from 'vitest'

/** What services count, and sell, apart. */
export const kinds = ['writes', 'reads', 'lists', 'removals'] as const
type Kind = (typeof kinds)[number]

export type Counts = Readonly<Record<Kind, number>>

/** A request that was sent. */
export interface Sent {
  readonly kind: Kind
  /** What comes first of its key, or of the keys that it lists, behind `.bits-sessions/`. */
  readonly folder: string | undefined
  /** What comes next. */
  readonly name: string | undefined
  /** Whether it gives a blob a block, and whether it has the service copy it. */
  readonly block: 'sent' | 'copied' | undefined
}

/** All requests to a bucket or container, from now on until the test is over: those that the clients repeat, too. */
export function requestsTo(bucket: string): Sent[] {
  const sent: Sent[] = []
  const channel = 'http.client.request.start'
  const record = (message: unknown): void => {
    const { request } = message as { readonly request: ClientRequest }
    if (request.path.split(/[/?]/).includes(bucket)) sent.push(read(request))
  }
  diagnostics.subscribe(channel, record)
  onTestFinished(() => void diagnostics.unsubscribe(channel, record))
  return sent
}

function read(request: ClientRequest): Sent {
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

function kindOf(method: string, asked: URLSearchParams): Kind {
  if (method === 'DELETE' || asked.has('delete')) return 'removals'
  if (method === 'HEAD') return 'reads'
  if (method !== 'GET') return 'writes'
  return asked.has('list-type') || asked.has('uploads') || asked.get('comp') === 'list' ? 'lists' : 'reads'
}

/** What a node that holds locks sends for that alone, whatever packets come: its heartbeat, and what others want of it. */
export const isOfNode = ({ folder }: Sent): boolean => folder === 'nodes' || folder === 'wants'

/**
 * How many there are of each kind. Azurite refuses to copy blocks, so that each is read, and sent: where the service does
 * it, it is one write.
 */
export function count(sent: readonly Sent[]): Counts {
  const blocks = sent.filter(({ block }) => block === 'sent').length
  const refused = blocks > 0 ? sent.filter(({ block }) => block === 'copied').length : 0
  const counts = { writes: 0 - refused, reads: 0 - blocks, lists: 0, removals: 0 }
  for (const { kind } of sent) counts[kind] += 1
  return counts
}
