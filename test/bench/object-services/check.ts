import { contents } from '../load/contents.ts'
import type { SentFile } from '../load/job.ts'
import type { Bucket } from './bucket.ts'

/** About how many files of a run are compared by samples. Of the others only the size is checked. */
const ComparedFiles = 16
const SampleBytes = 64 * 1024

/** @throws if an acknowledged file is missing or differs from what was sent */
export async function checkObjects(
  bucket: Bucket,
  sent: readonly SentFile[],
  fragment: number,
): Promise<void> {
  const sizes = await bucket.list()
  const step = Math.max(1, Math.floor(sent.length / ComparedFiles))
  for (const [index, file] of sent.entries()) {
    const size = sizes.get(file.name)
    if (size === undefined) throw new Error(`${file.name} is missing`)
    if (size !== file.size) throw new Error(`${file.name} has ${size} bytes, not ${file.size}`)
    if (index % step === 0) await checkSamples(bucket, file, fragment)
  }
}

/** Compares the first and the last bytes, and some around the boundaries of up to 10 fragments. */
async function checkSamples(bucket: Bucket, { name, size, salt }: SentFile, fragment: number): Promise<void> {
  const lastSample = Math.max(0, size - SampleBytes)
  const step = fragment * Math.ceil(size / fragment / 10)
  for (let at = 0; at < size; at += step) await compare(Math.max(0, at - SampleBytes / 2))
  await compare(lastSample)

  async function compare(first: number): Promise<void> {
    const length = Math.min(SampleBytes, size - first)
    const expected = Buffer.concat(contents(salt, first, length))
    if (!expected.equals(await bucket.read(name, first, length))) {
      throw new Error(`${name} differs from what was sent, between byte ${first} and ${first + length}`)
    }
  }
}
