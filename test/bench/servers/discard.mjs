/** Reads bodies and keeps nothing: what it costs to hear a client at all. */
import { putApp } from './put.mjs'
import { serve } from './serve.mjs'

serve(putApp((request, _put, answer, fail) => request.on('end', answer).on('error', fail).resume()))
