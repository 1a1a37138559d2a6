import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { contents } from './load/contents.ts'
import type { Sent } from './load/job.ts'

/** Files of a run that are read whole; of all others the size is looked at. */
const ReadWhole = 16
const Portion = 1024 * 1024

/** @throws if an acknowledged file is not there, or not what was sent */
export async function checkFiles(directory: string, sent: readonly Sent[]): Promise<void> {
  const step = Math.max(1, Math.floor(sent.length / ReadWhole))
  for (const [index, file] of sent.entries()) {
    const path = join(directory, file.name)
    const { size } = await stat(path)
    if (size !== file.size) throw new Error(`${path} has ${size} bytes, not ${file.size}`)
    if (index % step === 0) await checkContents(path, file)
  }
}

async function checkContents(path: string, { size, salt }: Sent): Promise<void> {
  const handle = await open(path)
  const buffer = Buffer.allocUnsafe(Portion)
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(Portion, size - at), at)
      let compared = 0
      for (const piece of contents(salt, at, bytesRead)) {
        if (buffer.compare(piece, 0, piece.length, compared, compared + piece.length) !== 0) {
          throw new Error(`${path} is not what was sent, after byte ${at + compared}`)
        }
        compared += piece.length
      }
      if (bytesRead === 0) throw new Error(`${path} ends early`)
      at += bytesRead
    }
  } finally {
    await handle.close()
  }
}
