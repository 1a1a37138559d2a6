import { expectResponse, fragmentsOf, head, type Protocol } from './protocol.ts'

const resumable = { 'Tus-Resumable': '1.0.0' }

/** A POST that creates the upload, and a PATCH for each fragment. */
export const tus: Protocol = function* (file) {
  const metadata = `filename ${Buffer.from(file.name).toString('base64')}`
  const created = yield {
    head: head('POST /files', {
      ...resumable,
      'Upload-Length': file.size,
      'Upload-Metadata': metadata,
      'Content-Length': 0,
    }),
  }
  expectResponse(created, 201)
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = {
      ...resumable,
      'Upload-Offset': first,
      'Content-Type': 'application/offset+octet-stream',
      'Content-Length': body.length,
    }
    const response = yield { head: head(`PATCH /files/${file.name}`, fields), body }
    expectResponse(response, 204, 'Upload-Offset', last + 1)
  }
}
