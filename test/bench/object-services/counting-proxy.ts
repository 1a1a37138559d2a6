/**
 * An HTTP proxy on a free port of 127.0.0.1: `counting-proxy.ts PORT` forwards requests to a port, unchanged,
 * and counts them. It sends its port to the parent process, and in response to each message the counts.
 */
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The number of requests of each kind: the method and the parameters that name an operation. */
export type RequestCounts = Readonly<Record<string, number>>

const port = Number(process.argv[2])
const agent = new Agent({ keepAlive: true, noDelay: true })
const counts: Record<string, number> = {}

const server = createServer({ requestTimeout: 0, noDelay: true }, (incoming, response) => {
  const { method = '', url = '', rawHeaders: headers } = incoming
  const kind = kindOf(method, url)
  counts[kind] = (counts[kind] ?? 0) + 1
  const outgoing = request({ host: '127.0.0.1', port, agent, method, path: url, headers })
  outgoing.on('response', (received) => {
    response.writeHead(received.statusCode ?? 0, received.rawHeaders)
    received.pipe(response)
  })
  outgoing.on('error', () => response.destroy())
  response.on('close', () => {
    if (!response.writableEnded) outgoing.destroy()
  })
  incoming.pipe(outgoing)
})
// A connection must not be closed at the moment when a server reuses it.
server.keepAliveTimeout = 0

/** Parameters whose values name an operation of Azure, and parameters that do so by themselves in S3. */
const namedByValue = ['comp', 'restype']
const namedByKey = ['uploads', 'uploadId', 'partNumber', 'list-type', 'delete', 'tagging']

function kindOf(method: string, url: string): string {
  const parameters = new URL(url, 'http://127.0.0.1').searchParams
  const parts = [...parameters].flatMap(([key, value]) =>
    namedByValue.includes(key) ? [`${key}=${value}`] : namedByKey.includes(key) ? [key] : [],
  )
  return parts.length === 0 ? method : `${method} ?${parts.sort().join('&')}`
}

process.on('message', () => process.send?.(counts))
process.on('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
