/**
 * Answers the three packets of a BITS upload as a client expects, in Express 5, without a session or a file:
 * the limit for comparisons with servers that need only one request for a file.
 */
import express from 'express'
import { shareHiddenClasses } from './hidden-classes.mjs'
import { serve } from './serve.mjs'

const id = '{00000000-0000-4000-8000-000000000000}'

shareHiddenClasses()
serve(
  express().use('/files', (request, response, next) => {
    const last = /-(\d+)\//.exec(request.headers['content-range'] ?? '')?.[1]
    const respond = () => {
      response.setHeader('BITS-Packet-Type', 'Ack')
      response.setHeader('BITS-Session-Id', id)
      if (last !== undefined) response.setHeader('BITS-Received-Content-Range', Number(last) + 1)
      response.setHeader('Content-Length', 0)
      response.end()
    }
    request.on('end', respond).on('error', next).resume()
  }),
)
