/**
 * Records the requests of each connection as Node's parser reads them. Plain JavaScript, because a worker
 * also runs it.
 */

/**
 * @typedef {{ method: string | undefined, url: string | undefined, note: string | undefined, body: string,
 *   complete: boolean }} Seen
 * @param {import('node:http').Server} server
 * @param {(port: number, requests: Seen[]) => void} onClose called when the connection from a client port has
 *   ended
 */
export function recordRequests(server, onClose) {
  /** @type {WeakMap<object, Seen[]>} */
  const connections = new WeakMap()
  server.on('connection', (socket) => {
    const { remotePort = 0 } = socket
    /** @type {Seen[]} */
    const requests = []
    connections.set(socket, requests)
    socket.on('close', () => onClose(remotePort, requests))
  })
  server.prependListener('request', (request) => {
    /** @type {Seen} */
    const seen = {
      method: request.method,
      url: request.url,
      note: request.headers.note?.toString(),
      body: '',
      complete: false,
    }
    connections.get(request.socket)?.push(seen)
    // Not by a 'data' listener, because it would start the flow of the body before the application does.
    const { push } = request
    request.push = (/** @type {Buffer | null} */ chunk, /** @type {any[]} */ ...rest) => {
      if (chunk === null) seen.complete = true
      else seen.body += chunk.toString('latin1')
      return push.call(request, chunk, ...rest)
    }
  })
}

/**
 * Makes a server answer a client that has closed its side after its last byte, and end a connection at once
 * when no more requests can arrive, so that no test waits for a timeout.
 */
export const allowHalfOpen = (/** @type {import('node:http').Server} */ server) =>
  Object.assign(server, { httpAllowHalfOpen: true })
