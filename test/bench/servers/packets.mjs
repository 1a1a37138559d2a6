/**
 * The three requests of a BITS upload, answered as a client expects it, by handlers in Express 5 that read the body and do
 * nothing else: no session, no file. What asks for one request a file cannot be asked for more than this.
 */
import express from 'express'
import { serve } from './serve.mjs'
import { shareShapes } from './shapes.mjs'

const id = '{00000000-0000-4000-8000-000000000000}'

shareShapes()
serve(
  express().use('/files', (request, response, next) => {
    const last = /-(\d+)\//.exec(request.headers['content-range'] ?? '')?.[1]
    const answer = () => {
      response.setHeader('BITS-Packet-Type', 'Ack')
      response.setHeader('BITS-Session-Id', id)
      if (last !== undefined) response.setHeader('BITS-Received-Content-Range', Number(last) + 1)
      response.setHeader('Content-Length', 0)
      response.end()
    }
    request.on('end', answer).on('error', next).resume()
  }),
)
