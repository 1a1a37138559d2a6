/**
 * An upload server that a test kills: `server-program.mjs DIRECTORY`. It sends 'ready', listens on the port
 * that it then receives, and sweeps on request. Without Express, because a test restarts it up to a thousand
 * times.
 */
import { createServer } from 'node:http'
import { bitsUpload } from 'express-bits-upload'

const [directory = ''] = process.argv.slice(2)
const upload = bitsUpload({
  store: directory,
  // A sweep checks expired sessions twice, 1.2 s apart.
  expireAfter: 120_000,
  onCreate: (_, { headers }) => ({ overwrite: headers['x-overwrite'] === 'yes' }),
})
const server = createServer((request, response) =>
  upload(request, response, () => response.writeHead(404).end()),
)

process.on('message', async (message) => {
  if (message === 'sweep') {
    process.send?.({ swept: await upload.sweep().catch(String) })
    return
  }
  server.listen(Number(message), '127.0.0.1', () => {
    const address = server.address()
    if (typeof address === 'object') process.send?.({ port: address?.port })
  })
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
