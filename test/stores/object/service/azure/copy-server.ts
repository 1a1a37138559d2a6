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
import { accountOf, serverUrlOf, viaServer } from './fixture.ts'

/** A request Put Block From URL. */
export interface Copy {
  readonly source: URL
  readonly range: string | undefined
  readonly authorization: string | undefined
}

export interface CopyServer {
  readonly url: URL
  /** The container, reached through this server. */
  readonly container: ContainerClient
  /** All requested copies. */
  readonly copies: Copy[]
  /** All requests: method and kind, as in `PUT block`. */
  readonly requests: string[]
}

export interface CopyServerOptions {
  /** Key and certificate of an https server. */
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Called before a request is forwarded. If it rejects, the connection is closed instead. */
  readonly before?: (request: string) => Promise<unknown>
  /** Whether the server has access to sources. Default: true */
  readonly readable?: boolean
}

interface ServerResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/**
 * Azurite with the request Put Block From URL, which Azurite does not implement. It replaces the real
 * service, which tests cannot use. As the page on that request describes, it reads the range
 * `x-ms-source-range` of `x-ms-copy-source` with the authorization `x-ms-copy-source-authorization`, and
 * stages the bytes. All other requests are forwarded to Azurite, which therefore also checks the
 * authorization of the copy request and of the source.
 * @param container of Azurite, with the key of the account
 */
export async function startCopyServer(
  container: ContainerClient,
  options: CopyServerOptions = {},
): Promise<CopyServer> {
  const azurite = serverUrlOf(container)
  const { tls, before, readable = true } = options
  const copies: Copy[] = []
  const requests: string[] = []

  const send = async (
    url: URL,
    method: string,
    headers: OutgoingHttpHeaders,
    body?: Buffer,
  ): Promise<ServerResponse> => {
    const create = url.protocol === 'https:' ? https.request : request
    const sent = create(url, { method, headers, ...(tls && { ca: tls.cert }) }).end(body)
    const [response] = await once(sent, 'response')
    return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
  }

  const copyBlock = async (target: URL, headers: IncomingHttpHeaders): Promise<ServerResponse> => {
    const copy: Copy = {
      source: new URL(`${headers['x-ms-copy-source']}`),
      range: headers['x-ms-source-range']?.toString(),
      authorization: headers['x-ms-copy-source-authorization']?.toString(),
    }
    copies.push(copy)
    if (!readable) return unverified(403)
    const found = await send(copy.source, 'GET', {
      'x-ms-version': headers['x-ms-version'],
      ...(copy.range && { 'x-ms-range': copy.range }),
      ...(copy.authorization && { authorization: copy.authorization }),
    })
    if (found.status >= 300) return unverified(found.status)
    // Azurite has checked the authorization of the request. Its signature is for a request without these
    // bytes.
    const blob = new BlockBlobClient(`${target.origin}${target.pathname}`, accountOf(container))
    const permissions = BlobSASPermissions.parse('w')
    const url = new URL(await blob.generateSasUrl({ permissions, expiresOn: new Date(Date.now() + 60_000) }))
    for (const name of ['comp', 'blockid']) url.searchParams.set(name, target.searchParams.get(name) ?? '')
    return send(url, 'PUT', { 'content-length': found.body.length }, found.body)
  }

  const handle = async (incoming: IncomingMessage): Promise<ServerResponse> => {
    const body = await buffer(incoming)
    const target = new URL(incoming.url ?? '', azurite)
    const isCopy = 'x-ms-copy-source' in incoming.headers
    const name = `${incoming.method} ${isCopy ? 'copy' : (target.searchParams.get('comp') ?? 'blob')}`
    requests.push(name)
    await before?.(name)
    const response = await send(target, incoming.method ?? '', incoming.headers, body)
    return isCopy && response.status === 501 ? copyBlock(target, incoming.headers) : response
  }

  const server = (tls ? https.createServer(tls) : createServer()).on('request', (incoming, response) => {
    handle(incoming).then(
      ({ status, headers, body }) => response.writeHead(status, headers).end(body),
      // The client has closed the connection, or `before` rejected.
      () => response.destroy(),
    )
  })
  const url = await listen(server)
  if (tls) url.protocol = 'https:'
  return { url, container: viaServer(url, container), copies, requests }
}

/** The response of the service for a source that it has no access to. */
const unverified = (status: number): ServerResponse => ({
  status,
  headers: { 'content-type': 'application/xml', 'x-ms-error-code': 'CannotVerifyCopySource' },
  body: Buffer.from(
    '<?xml version="1.0"?><Error><Code>CannotVerifyCopySource</Code><Message>no</Message></Error>',
  ),
})
