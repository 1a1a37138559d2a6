import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
} from 'node:http'
import * as https from 'node:https'
import { buffer } from 'node:stream/consumers'
import { BlobSASPermissions, BlockBlobClient, type ContainerClient } from '@azure/storage-blob'
import { listen } from '../../../../support/server.ts'
import { accountOf, byWayOf, serviceOf } from './way.ts'

/** A request for Put Block From URL. */
export interface Copy {
  readonly source: URL
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export interface Service {
  readonly url: URL
  /** The container, by way of the service. */
  readonly container: ContainerClient
  /** The copies that were asked for. */
  readonly copies: Copy[]
  /** The requests, their methods and what they are for, as in `PUT block`. */
  readonly requests: string[]
}

export interface ServiceOptions {
  /** Key and certificate, for a service that speaks https. */
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Called before a request is worked on; when it rejects, the request is never seen by the service. */
  readonly before?: (request: string) => Promise<unknown>
  /** Whether the service may read sources. Default: true */
  readonly readable?: boolean
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/**
 * Azurite, with the one request that it has not: Put Block From URL. Stands for the service, where tests cannot go: as
 * the page on that request says, it gets the range `x-ms-source-range` of `x-ms-copy-source`, with what
 * `x-ms-copy-source-authorization` says, and stages what it got. Everything else Azurite does, and so it decides, too,
 * who may ask for a copy and who may read the source.
 * @param container of Azurite, with the account's key
 */
export async function serviceOver(
  container: ContainerClient,
  options: ServiceOptions = {},
): Promise<Service> {
  const azurite = serviceOf(container)
  const { tls, before, readable = true } = options
  const copies: Copy[] = []
  const requests: string[] = []

  const ask = async (
    url: URL,
    method: string,
    headers: OutgoingHttpHeaders,
    body?: Buffer,
  ): Promise<Answer> => {
    const send = url.protocol === 'https:' ? https.request : request
    const sent = send(url, { method, headers, ...(tls && { ca: tls.cert }) }).end(body)
    const [answer] = await once(sent, 'response')
    return { status: answer.statusCode, headers: answer.headers, body: await buffer(answer) }
  }

  const copyBlock = async (target: URL, headers: IncomingHttpHeaders): Promise<Answer> => {
    const copy: Copy = {
      source: new URL(`${headers['x-ms-copy-source']}`),
      range: headers['x-ms-source-range']?.toString(),
      authorization: headers['x-ms-copy-source-authorization']?.toString(),
    }
    copies.push(copy)
    if (!readable) return unverified(403)
    const found = await ask(copy.source, 'GET', {
      'x-ms-version': headers['x-ms-version'],
      ...(copy.range && { 'x-ms-range': copy.range }),
      ...(copy.authorization && { authorization: copy.authorization }),
    })
    if (found.status >= 300) return unverified(found.status)
    // Whether the asker may write Azurite has decided; its signature is of a request without these bytes.
    const blob = new BlockBlobClient(`${target.origin}${target.pathname}`, accountOf(container))
    const permissions = BlobSASPermissions.parse('w')
    const url = new URL(await blob.generateSasUrl({ permissions, expiresOn: new Date(Date.now() + 60_000) }))
    for (const name of ['comp', 'blockid']) url.searchParams.set(name, target.searchParams.get(name) ?? '')
    return ask(url, 'PUT', { 'content-length': found.body.length }, found.body)
  }

  const answerTo = async (asked: IncomingMessage): Promise<Answer> => {
    const body = await buffer(asked)
    const target = new URL(asked.url ?? '', azurite)
    const isCopy = 'x-ms-copy-source' in asked.headers
    const name = `${asked.method} ${isCopy ? 'copy' : (target.searchParams.get('comp') ?? 'blob')}`
    requests.push(name)
    await before?.(name)
    const answer = await ask(target, asked.method ?? '', asked.headers, body)
    return isCopy && answer.status === 501 ? copyBlock(target, asked.headers) : answer
  }

  const server = (tls ? https.createServer(tls) : createServer()).on('request', (asked, response) => {
    answerTo(asked).then(
      ({ status, headers, body }) => response.writeHead(status, headers).end(body),
      // Whoever asked is gone, or `before` wanted the line to break.
      () => response.destroy(),
    )
  })
  const url = await listen(server)
  if (tls) url.protocol = 'https:'
  return { url, container: byWayOf(url, container), copies, requests }
}

/** What the service says of a source that it was not given, or that it cannot reach. */
const unverified = (status: number): Answer => ({
  status,
  headers: { 'content-type': 'application/xml', 'x-ms-error-code': 'CannotVerifyCopySource' },
  body: Buffer.from(
    '<?xml version="1.0"?><Error><Code>CannotVerifyCopySource</Code><Message>no</Message></Error>',
  ),
})
