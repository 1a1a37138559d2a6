import { type Dialect, expectAnswer, head } from './dialect.ts'

const boundary = 'express-bits-upload-benchmark'

/** A form with the whole file in it. */
export const form: Dialect = function* (file) {
  const disposition = `Content-Disposition: form-data; name="file"; filename="${file.name}"`
  const before = Buffer.from(`--${boundary}\r\n${disposition}\r\n\r\n`)
  const after = Buffer.from(`\r\n--${boundary}--\r\n`)
  const whole = Buffer.concat([before, ...file.read(0, file.size), after])
  const fields = {
    'Content-Type': `multipart/form-data; boundary=${boundary}`,
    'Content-Length': whole.length,
  }
  const body = { length: whole.length, read: (at: number, count: number) => [whole.subarray(at, at + count)] }
  expectAnswer(yield { head: head('POST /files', fields), body }, 200)
}
