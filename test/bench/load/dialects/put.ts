import { type Dialect, expectAnswer, fragmentsOf, head } from './dialect.ts'

/** A PUT with Content-Range for each fragment: what the baselines made for this benchmark speak. */
export const put: Dialect = function* (file) {
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = { 'Content-Range': `bytes ${first}-${last}/${file.size}`, 'Content-Length': body.length }
    const answer = yield { head: head(`PUT /files/${file.name}`, fields), body }
    expectAnswer(answer, 200, 'Upload-Offset', last + 1)
  }
}

/** A plain PUT of the whole file, as WebDAV has it. */
export const dav: Dialect = function* (file) {
  const body = { length: file.size, read: file.read }
  expectAnswer(yield { head: head(`PUT /files/${file.name}`, { 'Content-Length': file.size }), body }, 201)
}
