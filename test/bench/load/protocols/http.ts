/** Uploads by plain HTTP requests, and other requests to the application. */
import { expectResponse, fragmentsOf, head, type Protocol } from './protocol.ts'

/** A PUT with Content-Range for each fragment, for the receivers that were written for this benchmark. */
export const put: Protocol = function* (file) {
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = { 'Content-Range': `bytes ${first}-${last}/${file.size}`, 'Content-Length': body.length }
    const response = yield { head: head(`PUT /files/${file.name}`, fields), body }
    expectResponse(response, 200, 'Upload-Offset', last + 1)
  }
}

/** A PUT of the whole file, as in WebDAV. */
export const dav: Protocol = function* (file) {
  const body = { length: file.size, read: file.read }
  const response = yield { head: head(`PUT /files/${file.name}`, { 'Content-Length': file.size }), body }
  expectResponse(response, 201)
}

const boundary = 'express-bits-upload-benchmark'

/** A form that contains the whole file. */
export const form: Protocol = function* (file) {
  const disposition = `Content-Disposition: form-data; name="file"; filename="${file.name}"`
  const before = Buffer.from(`--${boundary}\r\n${disposition}\r\n\r\n`)
  const after = Buffer.from(`\r\n--${boundary}--\r\n`)
  const whole = Buffer.concat([before, ...file.read(0, file.size), after])
  const fields = {
    'Content-Type': `multipart/form-data; boundary=${boundary}`,
    'Content-Length': whole.length,
  }
  const body = { length: whole.length, read: (at: number, count: number) => [whole.subarray(at, at + count)] }
  expectResponse(yield { head: head('POST /files', fields), body }, 200)
}

const getRoot = head('GET /', {})

/** One GET for each byte of the file; the response is `Hello World`. */
export const get: Protocol = function* (file) {
  for (let count = 0; count < file.size; count += 1)
    expectResponse(yield { head: getRoot }, 200, 'Content-Length', 11)
}

/** Bodies for the application itself. */
export const post: Protocol = function* (file) {
  for (const { body } of fragmentsOf(file)) {
    expectResponse(yield { head: head('POST /sink', { 'Content-Length': body.length }), body }, 200)
  }
}
