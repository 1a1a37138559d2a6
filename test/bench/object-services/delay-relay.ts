/**
 * A TCP relay on a free port of 127.0.0.1: `delay-relay.ts PORT MS` forwards connections to a port. It adds the
 * time to each round trip, and to the opening of a connection. It sends its port to the parent process, and in
 * response to each message the number of connections so far.
 */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

const [, , port, delay] = process.argv.map(Number)
const oneWayMs = (delay ?? 0) / 2
/** Bytes of a connection on their way in one direction, as a TCP window limits them. */
const MaxQueuedBytes = 4 * 1024 * 1024
let connections = 0

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
  const service = connect({ port: port ?? 0, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  connections += 1
  client.pause()
  forward(client, service)
  forward(service, client)
  setTimeout(() => client.resume(), delay)
})

/** Timers of the same duration run in the order in which they were set, so the bytes stay in order. */
function forward(from: Socket, to: Socket): void {
  let queued = 0
  from.on('data', (chunk) => {
    queued += chunk.length
    if (queued >= MaxQueuedBytes) from.pause()
    setTimeout(() => {
      to.write(chunk, () => {
        queued -= chunk.length
        if (queued < MaxQueuedBytes) from.resume()
      })
    }, oneWayMs)
  })
  from.on('end', () => setTimeout(() => to.end(), oneWayMs))
  from.on('error', () => to.destroy())
}

process.on('message', () => process.send?.(connections))
process.on('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
