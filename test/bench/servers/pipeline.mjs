/** The simplest receiver: `stream.pipeline` into a file, with a new write stream for each fragment. */
import { createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { putApp } from './put.mjs'
import { serve } from './serve.mjs'

serve(
  putApp((request, { path, first }, respond, fail) => {
    const file = createWriteStream(path, { flags: first === 0 ? 'w' : 'r+', start: first })
    pipeline(request, file, (error) => (error ? fail(error) : respond()))
  }),
)
