/**
 * Shared by all servers of the benchmark. They are plain JavaScript and import the built package, because a
 * loader for TypeScript would take more memory than the measured server, and old versions of Node have none.
 */
import { createServer } from 'node:http'

/** The directory for uploads, and the other arguments of the program. */
export const [, , directory = '', ...args] = process.argv

/**
 * Listens on a free port of 127.0.0.1 and prints it. SIGUSR2 collects garbage, then prints `collected`.
 * SIGTERM and the end of the parent process exit normally, so that a profile is written.
 * @param {import('node:http').RequestListener} listener
 * @param {import('node:http').ServerOptions} [options]
 * @param {() => Promise<void>} [close] awaited after SIGTERM, before the process exits
 */
export function serve(listener, options, close) {
  const server = createServer({ requestTimeout: 0, ...options }, listener)
  // Connections stay open while thousands of others are opened, and while another server is measured.
  server.keepAliveTimeout = 0
  server.listen({ port: 0, host: '127.0.0.1', backlog: 8192 }, () => {
    const address = server.address()
    if (typeof address === 'object') console.log(`port ${address?.port}`)
  })
  process.on('SIGUSR2', () => {
    globalThis.gc?.()
    console.log('collected')
  })
  process.on('SIGTERM', async () => {
    await close?.()
    process.exit()
  })
  process.on('disconnect', () => process.exit())
}
