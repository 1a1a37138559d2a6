import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { contents } from './load/contents.ts'
import type { SentFile } from './load/job.ts'

/** About how many files of a run are compared byte for byte. Of the others only the size is checked. */
const ComparedFiles = 16
const BufferBytes = 1024 * 1024

/** @throws if an acknowledged file is missing or differs from what was sent */
export async function checkFiles(directory: string, sent: readonly SentFile[]): Promise<void> {
  const step = Math.max(1, Math.floor(sent.length / ComparedFiles))
  for (const [index, file] of sent.entries()) {
    const path = join(directory, file.name)
    const { size } = await stat(path)
    if (size !== file.size) throw new Error(`${path} has ${size} bytes, not ${file.size}`)
    if (index % step === 0) await checkContents(path, file)
  }
}

async function checkContents(path: string, { size, salt }: SentFile): Promise<void> {
  const handle = await open(path)
  const buffer = Buffer.allocUnsafe(BufferBytes)
  try {
    for (let at = 0; at < size; ) {
      const { bytesRead } = await handle.read(buffer, 0, Math.min(BufferBytes, size - at), at)
      let compared = 0
      for (const piece of contents(salt, at, bytesRead)) {
        if (buffer.compare(piece, 0, piece.length, compared, compared + piece.length) !== 0) {
          throw new Error(`${path} differs from what was sent, after byte ${at + compared}`)
        }
        compared += piece.length
      }
      if (bytesRead === 0) throw new Error(`${path} ends at byte ${at}`)
      at += bytesRead
    }
  } finally {
    await handle.close()
  }
}
