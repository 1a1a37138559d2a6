/** What a server is asked on each connection, as Node's parser sees it. Plain JavaScript: a worker runs it, too. */

/**
 * @typedef {{ method: string | undefined, url: string | undefined, note: string | undefined, body: string, complete: boolean }} Seen
 * @param {import('node:http').Server} server
 * @param {(port: number, seen: Seen[]) => void} tell called when the connection from a port has ended
 */
export function record(server, tell) {
  /** @type {WeakMap<object, Seen[]>} */
  const connections = new WeakMap()
  server.on('connection', (socket) => {
    const { remotePort = 0 } = socket
    /** @type {Seen[]} */
    const all = []
    connections.set(socket, all)
    socket.on('close', () => tell(remotePort, all))
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
    // A 'data' listener would make the body flow before anybody else asks for it.
    const { push } = request
    request.push = (/** @type {Buffer | null} */ chunk, /** @type {any[]} */ ...rest) => {
      if (chunk === null) seen.complete = true
      else seen.body += chunk.toString('latin1')
      return push.call(request, chunk, ...rest)
    }
  })
}

/**
 * A client that hangs up behind its last byte is answered all the same; and a connection on which nothing more can come
 * ends at once, so that no test waits for a time-out.
 */
export const lenient = (/** @type {import('node:http').Server} */ server) =>
  Object.assign(server, { httpAllowHalfOpen: true })
