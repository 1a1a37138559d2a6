/** `@tus/server` with `@tus/file-store` in Express 5. The client chooses the name of the file. */
import { mkdirSync } from 'node:fs'
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'
import express from 'express'
import { directory, serve } from './serve.mjs'

mkdirSync(directory, { recursive: true })
const server = new Server({
  path: '/files',
  datastore: new FileStore({ directory }),
  namingFunction: (_request, metadata) => metadata?.filename ?? '',
})
serve(express().all(/^\/files/, (request, response) => server.handle(request, response)))
