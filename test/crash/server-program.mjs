/**
 * An upload server that a test kills: `server-program.mjs DIRECTORY [LOCK_TIMEOUT]`. It sends 'ready', listens on the port
 * or the socket file that it then receives, and sweeps on request. Without Express, because a test restarts it
 * up to two thousand times.
 */
import { createServer } from 'node:http'
import { bitsUpload } from 'express-bits-upload'

const [directory = '', lockTimeout] = process.argv.slice(2)
const upload = bitsUpload({
  store: directory,
  // A sweep checks expired sessions twice, 1.2 s apart.
  expireAfter: 120_000,
  ...(lockTimeout !== undefined && { lockTimeout: Number(lockTimeout) }),
  onCreate: (_, { headers }) => ({ overwrite: headers['x-overwrite'] === 'yes' }),
})
upload.events.on('failed', ({ error }) => {
  // A test stops a server, so that the other one answers this.
  if (error.code !== 'session-busy') console.error(error)
})
const server = createServer((request, response) =>
  upload(request, response, () => response.writeHead(404).end()),
)

process.on('message', async (message) => {
  if (message === 'sweep') {
    process.send?.({ swept: await upload.sweep().catch(String) })
    return
  }
  const text = String(message)
  server.listen(/^\d+$/.test(text) ? { port: Number(text), host: '127.0.0.1' } : { path: text }, () => {
    const address = server.address()
    process.send?.({ port: typeof address === 'object' ? address?.port : 0 })
  })
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
