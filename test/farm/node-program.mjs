/**
 * A node of a server farm: `node-program.mjs NAME HOST PORT shared|alone`. It stores uploads in the directory
 * `incoming`, which other nodes share, or which it has alone; then it sends a BITS-Host-Id. It sends its port
 * to its parent process, and its name in the field X-Node of each response.
 */
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import express from 'express'
import { bitsUpload } from 'express-bits-upload'

const [name = '', host = '', port = '', kind] = process.argv.slice(2)
const app = express()
app.use((_request, response, next) => {
  response.setHeader('X-Node', name)
  next()
})
if (kind === 'shared') {
  app.use('/upload', bitsUpload({ store: './incoming' }))
} else {
  // The README's line.
  app.use('/upload', bitsUpload({ store: './incoming', hostId: process.env.HOST_ID ?? hostname() }))
}
const server = createServer({ requestTimeout: 0 }, app).listen(Number(port), host, () => {
  const address = server.address()
  if (typeof address === 'object') process.send?.(address?.port)
})
process.on('disconnect', () => process.exit())
