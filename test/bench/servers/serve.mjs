/**
 * What all servers of the benchmark share. They are plain JavaScript, and import the built package: a loader for
 * TypeScript would take more memory than the server that is to be measured, and old Nodes have none.
 */
import { createServer } from 'node:http'

/** The directory that uploads go to, and whatever else the server was told. */
export const [, , directory = '', ...words] = process.argv

/**
 * Listens on a free port of the loopback and prints it. SIGUSR2 collects garbage, and then prints so. SIGTERM is an end in
 * order, so that a profile is written; so is the end of whoever started it.
 * @param {import('node:http').RequestListener} listener
 * @param {import('node:http').ServerOptions} [options]
 */
export function serve(listener, options) {
  const server = createServer({ requestTimeout: 0, ...options }, listener)
  // Nobody is to lose his connection while another server is being measured, or between two of thousands of clients.
  server.keepAliveTimeout = 0
  server.listen({ port: 0, host: '127.0.0.1', backlog: 8192 }, () => {
    const address = server.address()
    if (typeof address === 'object') console.log(`port ${address?.port}`)
  })
  process.on('SIGUSR2', () => {
    globalThis.gc?.()
    console.log('collected')
  })
  process.on('SIGTERM', () => process.exit())
  process.on('disconnect', () => process.exit())
}
