import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { onTestFinished } from 'vitest'
import { type BitsUpload, type BitsUploadOptions, bitsUpload } from '../../lib/index.ts'
import { temporaryDirectory } from './directory.ts'

/** Listens on a free port of the loopback until the test is over. */
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

/** A real server of a request listener. */
export const serve = (listener: RequestListener): Promise<URL> => listen(createServer(listener))

export interface UploadServer {
  readonly upload: BitsUpload
  /** The mount path's URL, `http://127.0.0.1:port/upload/`. */
  readonly url: URL
  /** Where files land, if `store` was left out. */
  readonly directory: string
}

/** An Express 5 app with the middleware at `/upload`, over the file store in a directory of its own. */
export async function uploadServer(options: Partial<BitsUploadOptions> = {}): Promise<UploadServer> {
  const directory = await temporaryDirectory()
  const upload = bitsUpload({ store: directory, ...options })
  const url = await serve(express().use('/upload', upload))
  onTestFinished(() => upload.close({ grace: 0 }))
  return { upload, url: new URL('upload/', url), directory }
}
