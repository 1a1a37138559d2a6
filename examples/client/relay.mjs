/**
 * Sends a file from a web server to a BITS server without a copy on this machine.
 *
 *     node relay.mjs https://builds.example/disk.iso https://files.example/upload/disk.iso
 */
import { uploadFile } from 'express-bits-upload/client'

const [from = '', to = ''] = process.argv.slice(2)
const { headers } = await fetch(from, { method: 'HEAD' })
const etag = headers.get('etag')
if (etag === null || etag.startsWith('W/')) throw new Error(`${from} has no strong ETag`)

const source = {
  size: Number(headers.get('content-length')),
  version: etag,
  /**
   * Called for each fragment, also again after a failure.
   * @param {number} start
   * @param {number} end exclusive
   */
  async *read(start, end) {
    if (start === end) return // an empty file
    // 412 if the file is not the one of the first request.
    const response = await fetch(from, { headers: { Range: `bytes=${start}-${end - 1}`, 'If-Match': etag } })
    if (response.status !== 206 || !response.body) throw new Error(`${from} answers ${response.status}`)
    yield* response.body
  },
}

const { size } = await uploadFile(source, to, { job: './relay.job' })
console.log(`${size} bytes sent`)
