/**
 * An application with other routes than uploads: `app.mjs DIRECTORY with|without|empty`, with the middleware,
 * without it, or with an empty middleware in its place.
 */
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { args, directory, serve } from './serve.mjs'

const app = express()
if (args[0] === 'with') app.use('/files', bitsUpload({ store: directory }))
if (args[0] === 'empty') app.use('/files', (_request, _response, next) => next())
app.get('/', (_request, response) => {
  response.send('Hello World')
})
app.post('/sink', (request, response) => {
  request.on('end', () => response.setHeader('Content-Length', 0).end()).resume()
})
serve(app)
