/**
 * Makes a server in a container reachable from outside: `bridge.mjs SOCKET PORT`, run in the container. It listens on a
 * socket file, and connects to the port of the loopback interface. If the port refuses a connection it answers 502, as a
 * load balancer without another server does. Sends `listening` to its parent.
 */
import { connect, createServer } from 'node:net'

const [path = '', port = ''] = process.argv.slice(2)
const refusal = 'HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'

const server = createServer({ allowHalfOpen: true }, (client) => {
  const upstream = connect({ host: '127.0.0.1', port: Number(port), allowHalfOpen: true })
  client.pipe(upstream)
  upstream.pipe(client)
  upstream.on('error', (error) => {
    // The request must be read, because the client sees a reset otherwise.
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ECONNREFUSED') client.resume().end(refusal)
    else client.destroy()
  })
  client.on('error', () => upstream.destroy())
})
server.listen(path, () => process.send?.('listening'))
process.on('disconnect', () => process.exit())
