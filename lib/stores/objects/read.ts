import { Readable } from 'node:stream'
import type { ObjectSpace, Source } from '../../objects/space.ts'

/** The bytes of objects, one behind the other. */
export function readThrough(space: ObjectSpace, sources: readonly Source[]): Readable {
  return Readable.from(bytesOf(space, sources), { objectMode: false })
}

async function* bytesOf(space: ObjectSpace, sources: readonly Source[]): AsyncGenerator<Uint8Array> {
  for (const { key, size } of sources) if (size > 0) yield* space.read(key, 0, size - 1)
}

/** The bytes of objects that memory has room for. */
export async function readAll(space: ObjectSpace, sources: readonly Source[]): Promise<Buffer> {
  const all = await Promise.all(
    sources.map(async ({ key, size }) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of bytesOf(space, [{ key, size }])) chunks.push(chunk)
      return chunks
    }),
  )
  return Buffer.concat(all.flat())
}
