/**
 * An upload server to be killed: `server-program.mjs DIRECTORY`. It says 'ready', listens on the port that it is then
 * told, and sweeps when it is told to. Without Express, so that a thousand restarts do not take for ever.
 */
import { createServer } from 'node:http'
import { bitsUpload } from 'express-bits-upload'

const [directory = ''] = process.argv.slice(2)
const upload = bitsUpload({
  store: directory,
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
