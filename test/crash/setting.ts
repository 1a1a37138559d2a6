import { statSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type BitsUploadOptions, type FileSystem, fileStore } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { type Answer, answerTo, begin, send, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { uploadServer } from '../support/server.ts'

/** A directory, as tests look at it. */
export class Place {
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  part({ sessionId }: TestClient): string {
    return join(this.directory, '.bits-sessions', `${sessionId}.part`)
  }

  record({ sessionId }: TestClient): string {
    return join(this.directory, '.bits-sessions', `${sessionId}.json`)
  }

  published(name: string): Promise<Buffer> {
    return readFile(join(this.directory, name))
  }

  async names(): Promise<string[]> {
    return (await readdir(this.directory)).filter((name) => name !== '.bits-sessions').sort()
  }

  leftovers(): Promise<string[]> {
    return readdir(join(this.directory, '.bits-sessions'))
  }
}

export const newPlace = async (): Promise<Place> => new Place(await temporaryDirectory())

/** Some calls of the file system, to be held up at one point. */
export type Seam = Partial<FileSystem>

/** A middleware with locks of its own, as another process would have them. */
export async function server(place: Place, seam: Seam = {}, options: Partial<BitsUploadOptions> = {}) {
  const store = fileStore(place.directory, { fileSystem: { ...nodeFileSystem, ...seam } })
  const { upload, url } = await uploadServer({ store, ...options })
  return { upload, url }
}

export async function newClient(url: URL, name: string): Promise<TestClient> {
  const client = new TestClient(new URL(name, url))
  expect((await client.create()).status).toBe(200)
  return client
}

/** A packet on a connection of its own, to whichever server. */
export function apart(
  client: TestClient,
  type: 'Close-Session' | 'Cancel-Session' | 'Ping',
  url = client.url,
): Promise<Answer> {
  return send(url, type, { headers: { ...client.headers, 'BITS-Session-Id': client.sessionId } })
}

export function fragmentApart(
  client: TestClient,
  first: number,
  body: Buffer,
  total: number,
  url = client.url,
): Promise<Answer> {
  return send(url, 'Fragment', { headers: client.range(first, body.length, total), body })
}

/** Begins a fragment whose bytes come bit by bit. */
export function trickle(client: TestClient, first: number, length: number, total: number) {
  const outgoing = begin(client.url, 'Fragment', { headers: client.range(first, length, total) })
  const answer = answerTo(outgoing)
  answer.catch(() => {})
  return { outgoing, answer }
}

/** Sends bytes, and waits until the part is that long. */
export async function push(outgoing: ClientRequest, bytes: Buffer, part: string, length: number) {
  outgoing.write(bytes)
  await until(() => (statSync(part, { throwIfNoEntry: false })?.size ?? 0) >= length)
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate)
}

export const statuses = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status).sort()
