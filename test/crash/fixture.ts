import { statSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type BitsUploadOptions, type FileSystem, fileStore } from '../../lib/index.ts'
import { nodeFileSystem } from '../../lib/stores/file/file-system.ts'
import { type Answer, answerTo, begin, send, TestClient } from '../support/client.ts'
import { sessionFileNames, temporaryDirectory } from '../support/directory.ts'
import { uploadServer } from '../support/server.ts'

/** The directory of a file store: its session files and its published files. */
export class UploadDirectory {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  static async create(): Promise<UploadDirectory> {
    return new UploadDirectory(await temporaryDirectory())
  }

  part({ sessionId }: TestClient): string {
    return join(this.path, '.bits-sessions', `${sessionId}.part`)
  }

  journal({ sessionId }: TestClient): string {
    return join(this.path, '.bits-sessions', `${sessionId}.json`)
  }

  published(name: string): Promise<Buffer> {
    return readFile(join(this.path, name))
  }

  async publishedNames(): Promise<string[]> {
    return (await readdir(this.path)).filter((name) => name !== '.bits-sessions').sort()
  }

  sessionFiles(): Promise<string[]> {
    return sessionFileNames(join(this.path, '.bits-sessions'))
  }
}

/** Replacements for some calls of the file system, with which a test delays them. */
export type FileSystemOverrides = Partial<FileSystem>

/** A middleware with a file store and locks of its own, as another process would have. */
export async function startServer(
  directory: UploadDirectory,
  overrides: FileSystemOverrides = {},
  options: Partial<BitsUploadOptions> = {},
) {
  const store = fileStore(directory.path, { fileSystem: { ...nodeFileSystem, ...overrides } })
  const { upload, url } = await uploadServer({ store, ...options })
  return { upload, url }
}

export async function newClient(url: URL, name: string): Promise<TestClient> {
  const client = new TestClient(new URL(name, url))
  expect((await client.create()).status).toBe(200)
  return client
}

/** Sends a packet on a new connection. */
export function sendAlone(
  client: TestClient,
  type: 'Close-Session' | 'Cancel-Session' | 'Ping',
  url = client.url,
): Promise<Answer> {
  return send(url, type, { headers: { ...client.headers, 'BITS-Session-Id': client.sessionId } })
}

/** Sends a fragment on a new connection. */
export function sendFragmentAlone(
  client: TestClient,
  first: number,
  body: Buffer,
  total: number,
  url = client.url,
): Promise<Answer> {
  return send(url, 'Fragment', { headers: client.range(first, body.length, total), body })
}

/** Begins a fragment without sending its body. */
export function beginFragment(client: TestClient, first: number, length: number, total: number) {
  const outgoing = begin(client.url, 'Fragment', { headers: client.range(first, length, total) })
  const answer = answerTo(outgoing)
  answer.catch(() => {})
  return { outgoing, answer }
}

/** Sends bytes of a body, and waits until the part file has this length. */
export async function writeUntilStored(outgoing: ClientRequest, bytes: Buffer, part: string, length: number) {
  outgoing.write(bytes)
  await waitUntil(() => (statSync(part, { throwIfNoEntry: false })?.size ?? 0) >= length)
}

export async function waitUntil(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate)
}

export const statuses = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status).sort()
