import { type Dialect, expectAnswer, fragmentsOf, head } from './dialect.ts'

const hello = head('GET /', {})

/** Hello World, as often as the file has bytes. */
export const get: Dialect = function* (file) {
  for (let count = 0; count < file.size; count += 1)
    expectAnswer(yield { head: hello }, 200, 'Content-Length', 11)
}

/** Bodies for the app itself. */
export const post: Dialect = function* (file) {
  for (const { body } of fragmentsOf(file)) {
    expectAnswer(yield { head: head('POST /sink', { 'Content-Length': body.length }), body }, 200)
  }
}
