/**
 * Hello World in plain `node:http`. The difference from `app.mjs` is the time that Express takes for a
 * request.
 */
import { serve } from './serve.mjs'

serve((_request, response) => {
  response.setHeader('Content-Type', 'text/html; charset=utf-8')
  response.setHeader('Content-Length', 11)
  response.end('Hello World')
})
