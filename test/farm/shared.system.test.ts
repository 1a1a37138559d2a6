/** A server farm on one machine: two processes that share a directory, behind nginx in round robin. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { UploadDirectory, writeUntilStored } from '../crash/fixture.ts'
import { noise } from '../support/bytes.ts'
import { answerTo, begin, hresult, received } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx } from '../support/nginx.ts'
import { NewConnectionClient, nodeOf, retryOn502 } from './client.ts'
import { startExampleNginx, startProcess } from './node.ts'

async function farm() {
  const directory = await temporaryDirectory()
  const [a, b] = await Promise.all([startProcess(directory), startProcess(directory)])
  const { url } = await startExampleNginx(() => [a.address, b.address])
  return { a, b, uploads: new UploadDirectory(join(directory, 'incoming')), url: new URL('upload/', url) }
}

const fragments = 10

/** Uploads a file in ten fragments. Resolves to the addresses of the processes that answered. */
async function upload(client: NewConnectionClient, file: Buffer, onAnswer = (_count: number): void => {}) {
  const answers = [await retryOn502(() => client.create())]
  const size = Math.ceil(file.length / fragments)
  for (let first = 0; first < file.length; first += size) {
    const piece = file.subarray(first, first + size)
    const answer = await retryOn502(() => client.fragment(first, piece, file.length))
    expect([answer.status, received(answer)]).toEqual([200, first + piece.length])
    onAnswer(answers.push(answer))
  }
  const closed = await retryOn502(() => client.close())
  // The session is unknown if a node was killed after it had closed the session and before it had answered.
  expect([undefined, '0x8020001F']).toContain(hresult(closed))
  return [...answers, closed].map(nodeOf)
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** 20 files of different lengths. */
const files = Array.from({ length: 20 }, (_, i) => noise(300_000 + i, i + 1))

async function expectFiles(uploads: UploadDirectory): Promise<void> {
  const arrived = await Promise.all(files.map((_, i) => uploads.published(`${i}.bin`)))
  expect(arrived.map(sha256)).toEqual(files.map(sha256))
}

describeNginx('Server farm of two processes with a shared directory', () => {
  it('completes an upload whose packets alternate between the processes', async () => {
    const { a, b, uploads, url } = await farm()
    const file = noise(100_000)
    const nodes = await upload(new NewConnectionClient(new URL('a.bin', url)), file)
    expect(nodes).toEqual(nodes.map((_, i) => nodes[i % 2]))
    expect(new Set(nodes)).toEqual(new Set([a.address, b.address]))
    expect((await uploads.published('a.bin')).equals(file)).toBe(true)
  })

  it('completes 20 concurrent uploads, half of the packets at each process, and leaves no session files', async () => {
    const { a, b, uploads, url } = await farm()
    const nodes = await Promise.all(
      files.map((file, i) => upload(new NewConnectionClient(new URL(`${i}.bin`, url)), file)),
    )
    const packets = files.length * (fragments + 2)
    for (const { address } of [a, b]) {
      expect(nodes.flat().filter((node) => node === address)).toHaveLength(packets / 2)
    }
    await expectFiles(uploads)
    expect(await uploads.sessionFiles()).toEqual([])
  })

  it('completes an upload at the other process after one is killed during a fragment', async () => {
    const { a, b, uploads, url } = await farm()
    const file = noise(400_000)
    const client = new NewConnectionClient(new URL('a.bin', url))
    await client.create()
    const first = await client.fragment(0, file.subarray(0, 100_000), file.length)
    // The next packet goes to the other node.
    const [killed, survivor] = nodeOf(first) === a.address ? [b, a] : [a, b]
    const outgoing = begin(client.url, 'Fragment', { headers: client.range(100_000, 200_000, file.length) })
    const answer = answerTo(outgoing)
    await writeUntilStored(outgoing, file.subarray(100_000, 150_000), uploads.part(client), 150_000)
    await killed.kill()
    expect((await answer).status).toBe(502)
    outgoing.destroy()
    const again = await retryOn502(() =>
      client.fragment(100_000, file.subarray(100_000, 300_000), file.length),
    )
    expect([again.status, received(again), nodeOf(again)]).toEqual([200, 300_000, survivor.address])
    expect(
      (await retryOn502(() => client.fragment(300_000, file.subarray(300_000), file.length))).status,
    ).toBe(200)
    expect((await retryOn502(() => client.close())).status).toBe(200)
    expect((await uploads.published('a.bin')).equals(file)).toBe(true)
    expect(await uploads.sessionFiles()).toEqual([])
  })

  it('completes 20 concurrent uploads at the other process after one is killed', async () => {
    const { a, b, uploads, url } = await farm()
    let kill: Promise<unknown> | undefined
    const onAnswer = (count: number): void => {
      if (count > fragments / 2) kill ??= a.kill()
    }
    const nodes = await Promise.all(
      files.map((file, i) => upload(new NewConnectionClient(new URL(`${i}.bin`, url)), file, onAnswer)),
    )
    await kill
    expect(nodes.flat()).toContain(a.address)
    expect(nodes.map((of) => of.at(-1))).toEqual(files.map(() => b.address))
    await expectFiles(uploads)
    // A Create-Session that was not answered leaves a session that no client uses.
    expect((await uploads.sessionFiles()).filter((name) => !name.endsWith('.json'))).toEqual([])
  })
})
