/** Fixtures of the wire tests: servers, sessions and events. */

import type { EventEmitter } from 'node:events'
import type { OutgoingHttpHeaders } from 'node:http'
import type { RequestHandler } from 'express'
import express from 'express'
import { onTestFinished } from 'vitest'
import {
  type BitsUpload,
  type BitsUploadEvents,
  type BitsUploadOptions,
  bitsUpload,
  fileStore,
} from '../../lib/index.ts'
import type { FileSystem } from '../../lib/stores/file/file-system.ts'
import { type PacketOptions, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve, type UploadServer, uploadServer } from '../support/server.ts'

export interface ServerSetup extends Partial<BitsUploadOptions> {
  /** An existing directory, for example of another server. */
  readonly directory?: string
  readonly fileSystem?: FileSystem
  /** Handlers of the app before the middleware. */
  readonly before?: RequestHandler[]
  /** Handlers of the app after the middleware. */
  readonly after?: RequestHandler[]
}

/** As `uploadServer` of test/support, with more control over the app around the middleware. */
export async function start(setup: ServerSetup = {}): Promise<UploadServer> {
  const { directory = await temporaryDirectory(), fileSystem, before = [], after = [], ...options } = setup
  const store = fileStore(directory, { ...(fileSystem && { fileSystem }) })
  if (before.length + after.length === 0) {
    return { ...(await uploadServer({ store, ...options })), directory }
  }
  const upload = bitsUpload({ store, ...options })
  const url = await serve(express().use('/upload', ...before, upload, ...after))
  onTestFinished(() => upload.close({ grace: 0 }))
  return { upload, url: new URL('upload/', url), directory }
}

export interface Upload extends UploadServer {
  readonly client: TestClient
  /** The session's id. */
  readonly id: string
}

/** A server, and a client with a session for `a.bin`. */
export async function session(setup: ServerSetup = {}): Promise<Upload> {
  const server = await start(setup)
  const client = await sessionOn(server)
  return { ...server, client, id: client.sessionId }
}

/** A client with a session on an existing server. */
export async function sessionOn(
  { url }: Pick<UploadServer, 'url'>,
  name = 'a.bin',
  headers: OutgoingHttpHeaders = {},
): Promise<TestClient> {
  const client = new TestClient(new URL(name, url), headers)
  const { status } = await client.create()
  if (status !== 200) throw new Error(`Create-Session was answered with ${status}`)
  return client
}

/** Sends a Fragment with other headers than those of `client.fragment`. */
export const oddFragment = (
  client: TestClient,
  headers: OutgoingHttpHeaders,
  body: Uint8Array,
  options: PacketOptions = {},
) =>
  client.send('Fragment', { body, headers: { 'BITS-Session-Id': client.sessionId, ...headers }, ...options })

type Report<Event extends keyof BitsUploadEvents> = BitsUploadEvents[Event][0]

/** The next event of a kind. */
export function next<Event extends keyof BitsUploadEvents>(
  { events }: BitsUpload,
  event: Event,
): Promise<Report<Event>> {
  return new Promise((resolve) => {
    const emitter = events as Pick<EventEmitter, 'once'>
    emitter.once(event, resolve)
  })
}

/** All events of a kind from now on. */
export function all<Event extends keyof BitsUploadEvents>(
  { events }: BitsUpload,
  event: Event,
): Report<Event>[] {
  const reports: Report<Event>[] = []
  const emitter = events as Pick<EventEmitter, 'on'>
  emitter.on(event, (report) => reports.push(report))
  return reports
}
