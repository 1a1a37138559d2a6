/** Hello World of `node:http`: the difference to `app.mjs` is what Express takes for a request. */
import { serve } from './serve.mjs'

serve((_request, response) => {
  response.setHeader('Content-Type', 'text/html; charset=utf-8')
  response.setHeader('Content-Length', 11)
  response.end('Hello World')
})
