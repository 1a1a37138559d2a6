/**
 * Plain Node, in a thread of its own: in the tests' own thread the library has changed every server. It answers when the
 * body has come, or at once where the request asks for that.
 */

import { createServer } from 'node:http'
import { parentPort } from 'node:worker_threads'
import { lenient, record } from './record.mjs'

const server = createServer((request, response) => {
  // As Acks have it: with HTTP/1.0 a connection does not outlive an answer without.
  response.setHeader('Content-Length', 0)
  request.resume()
  if (request.headers['x-answer'] === 'early') response.end()
  else request.on('end', () => response.end())
})
record(lenient(server), (port, seen) => parentPort?.postMessage({ port, seen }))
server.listen(0, '127.0.0.1', () => parentPort?.postMessage(server.address()))
