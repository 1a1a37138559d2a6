import { type Dialect, expectAnswer, fragmentsOf, head } from './dialect.ts'

const protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

/** Create-Session, Fragments, Close-Session. */
export const bits: Dialect = function* (file) {
  const line = `BITS_POST /files/${file.name}`
  const created = yield {
    head: head(line, {
      'BITS-Packet-Type': 'Create-Session',
      'BITS-Supported-Protocols': protocol,
      'Content-Length': 0,
    }),
  }
  expectAnswer(created, 200)
  const id = created.field('BITS-Session-Id') ?? ''
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = {
      'BITS-Packet-Type': 'Fragment',
      'BITS-Session-Id': id,
      'Content-Range': `bytes ${first}-${last}/${file.size}`,
      'Content-Length': body.length,
    }
    expectAnswer(yield { head: head(line, fields), body }, 200, 'BITS-Received-Content-Range', last + 1)
  }
  const fields = { 'BITS-Packet-Type': 'Close-Session', 'BITS-Session-Id': id, 'Content-Length': 0 }
  expectAnswer(yield { head: head(line, fields) }, 200)
}
