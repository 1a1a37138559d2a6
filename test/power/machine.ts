/** An upload server on a simulated disk, which can crash or lose power, and a client of the server. */
import express from 'express'
import { expect } from 'vitest'
import { type BitsUploadOptions, bitsUpload, type Durability, fileStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { hresult, received, TestClient } from '../support/client.ts'
import { serve } from '../support/server.ts'
import { type Random, SimulatedDisk } from './simulated-disk.ts'

/** The uploaded file. */
export const file = noise(5000)
/** Default size of a fragment in bytes: the file needs four. */
export const fragmentSize = 1500

/** A pseudo-random sequence (mulberry32): the same numbers for the same seed. */
export function randomOf(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/**
 * Starts a server on an empty simulated disk. `restart` starts a new server on the same disk, as a new
 * process would.
 */
export async function machine(
  durability: Durability,
  onUpload?: BitsUploadOptions['onUpload'],
  { name = 'a.bin', createFolders = false, overwrite = true } = {},
) {
  const disk = new SimulatedDisk()
  const open = () =>
    bitsUpload({
      store: fileStore('/disk', { fileSystem: disk.fileSystem, durability, createFolders }),
      overwrite,
      sweepEvery: 0,
      ...(onUpload && { onUpload }),
    })
  let upload = open()
  const url = await serve(
    express().use('/upload', (request, response, next) => upload(request, response, next)),
  )
  return {
    disk,
    client: () => new TestClient(new URL(`upload/${name}`, url)),
    async restart() {
      await upload.close({ grace: 0 })
      upload = open()
    },
  }
}

export interface Progress {
  /** The offset that the server acknowledged last. */
  acked: number
  /** Whether the client received success for the last byte. */
  done: boolean
}

/** Sends the file from the offset that the server requests, until it is complete or the machine stops. */
export async function send(client: TestClient, progress: Progress, size = fragmentSize): Promise<void> {
  let at = progress.acked
  for (let tries = 0; tries < 30 && !progress.done; tries += 1) {
    if (!client.sessionId) {
      if ((await client.create()).status !== 200) return
      at = 0
    }
    const end = Math.min(at + size, file.length)
    const answer = await client.fragment(at, file.subarray(at, end), file.length)
    if (hresult(answer) === '0x8020001F') {
      client.sessionId = ''
      progress.acked = 0
      continue
    }
    if (answer.status >= 500) return
    at = received(answer)
    progress.acked = at
    progress.done = answer.status === 200 && at === file.length
  }
}

/**
 * The offset and the bytes that the file store holds of the session; undefined if there is none, or if it is
 * published.
 */
export async function held(
  { fileSystem }: SimulatedDisk,
  id: string,
): Promise<{ received: number; bytes: Buffer } | undefined> {
  const store = fileStore('/disk', { fileSystem })
  const session = await store.load(id)
  if (!session || session.state === 'published') return undefined
  const chunks: Uint8Array[] = []
  if (session.received > 0) for await (const chunk of store.read(session)) chunks.push(chunk)
  return { received: session.received, bytes: Buffer.concat(chunks) }
}

/** The reply that the file store keeps for the session. */
export async function replyOf({ fileSystem }: SimulatedDisk, id: string): Promise<Buffer | undefined> {
  const store = fileStore('/disk', { fileSystem })
  const session = await store.load(id)
  const reply = session?.decision?.reply === 'stored' ? await store.loadReply(session) : undefined
  if (!reply) return undefined
  const chunks: Uint8Array[] = []
  for await (const chunk of reply.read(0, reply.size - 1)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The number of calls of the file system for a whole upload. */
export async function callsOf(
  durability: Durability,
  { onUpload, size = fragmentSize }: { onUpload?: BitsUploadOptions['onUpload']; size?: number } = {},
): Promise<number> {
  const { disk, client } = await machine(durability, onUpload)
  const progress = { acked: 0, done: false }
  const uploader = client()
  await send(uploader, progress, size)
  expect(progress.done).toBe(true)
  await uploader.close()
  // On Linux the only write of a file of one fragment is also its sync.
  const isSingleWrite = durability === 'file' && size === file.length && process.platform === 'linux'
  expect(disk.syncedWrites).toBe(isSingleWrite ? 1 : 0)
  return disk.calls
}
