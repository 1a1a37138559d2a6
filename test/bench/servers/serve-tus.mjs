import { Server } from '@tus/server'
import express from 'express'
import { args, serve } from './serve.mjs'

/**
 * Serves `@tus/server` with a store in Express 5, or alone, if the first argument is `alone`. The client chooses the name of the file.
 * @param {import('@tus/server').DataStore} datastore
 */
export function serveTus(datastore) {
  const server = new Server({
    path: '/files',
    datastore,
    namingFunction: (_request, metadata) => metadata?.filename ?? '',
  })
  /** @type {import('node:http').RequestListener} */
  const listener = (request, response) => void server.handle(request, response)
  serve(args[0] === 'alone' ? listener : express().all(/^\/files/, listener))
}
