/** What one writes first: `stream.pipeline` into a file, a stream for each fragment. */
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { putApp } from './put.mjs'
import { serve } from './serve.mjs'

serve(
  putApp((request, { path, first }, answer, fail) => {
    const file = createWriteStream(path, { flags: first === 0 ? 'w' : 'r+', start: first })
    pipeline(request, file, (error) => (error ? fail(error) : answer()))
  }),
)
