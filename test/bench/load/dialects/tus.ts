import { type Dialect, expectAnswer, fragmentsOf, head } from './dialect.ts'

const resumable = { 'Tus-Resumable': '1.0.0' }

/** POST, and a PATCH for each fragment. */
export const tus: Dialect = function* (file) {
  const metadata = `filename ${Buffer.from(file.name).toString('base64')}`
  const created = yield {
    head: head('POST /files', {
      ...resumable,
      'Upload-Length': file.size,
      'Upload-Metadata': metadata,
      'Content-Length': 0,
    }),
  }
  expectAnswer(created, 201)
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = {
      ...resumable,
      'Upload-Offset': first,
      'Content-Type': 'application/offset+octet-stream',
      'Content-Length': body.length,
    }
    const answer = yield { head: head(`PATCH /files/${file.name}`, fields), body }
    expectAnswer(answer, 204, 'Upload-Offset', last + 1)
  }
}
