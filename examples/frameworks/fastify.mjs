/** Fastify. Uploads are handled before Fastify, which sees all other requests. */
import { createServer } from 'node:http'
import { bitsUpload, mount } from 'express-bits-upload'
import fastify from 'fastify'

const uploads = mount('/upload', bitsUpload({ store: './incoming' }))

const app = fastify({
  // Fastify calls it once for each address that it listens on.
  serverFactory(listener) {
    const server = createServer((request, response) =>
      uploads(request, response, () => listener(request, response)),
    )
    // Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
    server.requestTimeout = 0
    server.keepAliveTimeout = 125_000
    server.headersTimeout = 130_000
    return server
  },
})
app.get('/hello', () => 'Hello')
app.post('/hello', ({ body }) => body)

// By default Fastify listens on localhost only.
await app.listen({ port: Number(process.env.PORT ?? 8080), host: '0.0.0.0' })
const { port } = /** @type {import('node:net').AddressInfo} */ (app.server.address())
console.log(`Send files to http://localhost:${port}/upload/`)
