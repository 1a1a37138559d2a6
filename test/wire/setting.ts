/** Fixtures of the wire tests: servers, sessions, events and signals. */

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

export interface Scene extends Partial<BitsUploadOptions> {
  /** A directory that there is already, of another server for example. */
  readonly directory?: string
  readonly fileSystem?: FileSystem
  /** What the app has in front of the middleware. */
  readonly before?: RequestHandler[]
  /** What it has behind. */
  readonly behind?: RequestHandler[]
}

/** As `uploadServer` of test/support, with more say in what stands around the middleware. */
export async function start(scene: Scene = {}): Promise<UploadServer> {
  const { directory = await temporaryDirectory(), fileSystem, before = [], behind = [], ...options } = scene
  const store = fileStore(directory, { ...(fileSystem && { fileSystem }) })
  if (before.length + behind.length === 0) {
    return { ...(await uploadServer({ store, ...options })), directory }
  }
  const upload = bitsUpload({ store, ...options })
  const url = await serve(express().use('/upload', ...before, upload, ...behind))
  onTestFinished(() => upload.close({ grace: 0 }))
  return { upload, url: new URL('upload/', url), directory }
}

export interface Upload extends UploadServer {
  readonly client: TestClient
  /** The session's id. */
  readonly id: string
}

/** A server, and a client with a session for `a.bin`. */
export async function session(scene: Scene = {}): Promise<Upload> {
  const server = await start(scene)
  const client = await sessionOn(server)
  return { ...server, client, id: client.sessionId }
}

/** A client with a session on a server that there is already. */
export async function sessionOn(
  { url }: Pick<UploadServer, 'url'>,
  name = 'a.bin',
  headers: OutgoingHttpHeaders = {},
): Promise<TestClient> {
  const client = new TestClient(new URL(name, url), headers)
  const { status } = await client.create()
  if (status !== 200) throw new Error(`Create-Session was answered ${status}`)
  return client
}

/** A Fragment whose headers are not what `client.fragment` makes them. */
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

/** Something that a test waits for, or lets others wait for. */
export interface Signal {
  readonly given: Promise<void>
  give(): void
}

export function signal(): Signal {
  let give = (): void => {}
  const given = new Promise<void>((resolve) => {
    give = resolve
  })
  return { given, give: () => give() }
}
