/** Reads bodies and discards them: the cost of receiving bytes at all. */
import { putApp } from './put.mjs'
import { serve } from './serve.mjs'

serve(putApp((request, _put, respond, fail) => request.on('end', respond).on('error', fail).resume()))
