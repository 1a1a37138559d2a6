/** An app of its own beside uploads: `app.mjs DIRECTORY with|without` the middleware, or `empty`: one that does nothing. */
import express from 'express'
import { bitsUpload } from 'express-bits-upload'
import { directory, serve, words } from './serve.mjs'

const app = express()
if (words[0] === 'with') app.use('/files', bitsUpload({ store: directory }))
if (words[0] === 'empty') app.use('/files', (_request, _response, next) => next())
app.get('/', (_request, response) => {
  response.send('Hello World')
})
app.post('/sink', (request, response) => {
  request.on('end', () => response.setHeader('Content-Length', 0).end()).resume()
})
serve(app)
