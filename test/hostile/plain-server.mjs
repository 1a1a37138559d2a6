/**
 * A plain Node server in a thread of its own, because the library has changed every server in the thread of
 * the tests. It answers when the body has arrived, or at once if the request has the field X-Answer: early.
 */

import { createServer } from 'node:http'
import { parentPort } from 'node:worker_threads'
import { allowHalfOpen, recordRequests } from './record-requests.mjs'

const server = createServer((request, response) => {
  // As in Acks. Without Content-Length an HTTP/1.0 connection ends after the answer.
  response.setHeader('Content-Length', 0)
  request.resume()
  if (request.headers['x-answer'] === 'early') response.end()
  else request.on('end', () => response.end())
})
recordRequests(allowHalfOpen(server), (port, seen) => parentPort?.postMessage({ port, seen }))
server.listen(0, '127.0.0.1', () => parentPort?.postMessage(server.address()))
