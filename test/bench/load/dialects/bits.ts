import { type Dialect, expectAnswer, type File, fragmentsOf, head } from './dialect.ts'

const protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

export const bits: Dialect = (file) => packets(file, 'BITS_POST')

/** By the verb that servers take which have not learnt BITS's own. */
export const override: Dialect = (file) => packets(file, 'POST', { 'X-HTTP-Method-Override': 'BITS_POST' })

/** Create-Session, Fragments, Close-Session. */
function* packets(
  file: File,
  verb: string,
  more: Readonly<Record<string, string>> = {},
): ReturnType<Dialect> {
  const line = `${verb} /files/${file.name}`
  const created = yield {
    head: head(line, {
      ...more,
      'BITS-Packet-Type': 'Create-Session',
      'BITS-Supported-Protocols': protocol,
      'Content-Length': 0,
    }),
  }
  expectAnswer(created, 200)
  const session = { ...more, 'BITS-Session-Id': created.field('BITS-Session-Id') ?? '' }
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = {
      ...session,
      'BITS-Packet-Type': 'Fragment',
      'Content-Range': `bytes ${first}-${last}/${file.size}`,
      'Content-Length': body.length,
    }
    expectAnswer(yield { head: head(line, fields), body }, 200, 'BITS-Received-Content-Range', last + 1)
  }
  const fields = { ...session, 'BITS-Packet-Type': 'Close-Session', 'Content-Length': 0 }
  expectAnswer(yield { head: head(line, fields) }, 200)
}
