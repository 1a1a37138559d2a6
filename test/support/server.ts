import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { onTestFinished } from 'vitest'
import { type BitsUpload, type BitsUploadOptions, bitsUpload } from '../../lib/index.ts'
import { temporaryDirectory } from './directory.ts'

/** Listens on a free port of the loopback interface until the end of the test. */
export async function listen(server: Server): Promise<URL> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
}

/** Starts an HTTP server with a request listener. */
export const serve = (listener: RequestListener): Promise<URL> => listen(createServer(listener))

export interface UploadServer {
  readonly upload: BitsUpload
  /** The URL of the mount path: `http://127.0.0.1:port/upload/`. */
  readonly url: URL
  /** The directory of the store, unless the options have `store`. */
  readonly directory: string
}

/**
 * Starts an Express 5 app with the middleware at `/upload` and, by default, a file store in a new directory.
 */
export async function uploadServer(options: Partial<BitsUploadOptions> = {}): Promise<UploadServer> {
  const directory = await temporaryDirectory()
  const upload = bitsUpload({ store: directory, ...options })
  // Without a listener failures, which tests cause on purpose, are printed to the console.
  upload.events.on('failed', () => {})
  const url = await serve(express().use('/upload', upload))
  onTestFinished(() => upload.close({ grace: 0 }))
  return { upload, url: new URL('upload/', url), directory }
}
