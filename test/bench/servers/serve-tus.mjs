import { Server } from '@tus/server'
import express from 'express'
import { serve } from './serve.mjs'

/**
 * Serves `@tus/server` with a store in Express 5. The client chooses the name of the file.
 * @param {import('@tus/server').DataStore} datastore
 */
export function serveTus(datastore) {
  const server = new Server({
    path: '/files',
    datastore,
    namingFunction: (_request, metadata) => metadata?.filename ?? '',
  })
  serve(express().all(/^\/files/, (request, response) => server.handle(request, response)))
}
