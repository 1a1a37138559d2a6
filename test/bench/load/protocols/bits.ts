import { expectResponse, type File, fragmentsOf, head, type Protocol } from './protocol.ts'

const protocolId = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

export const bits: Protocol = (file) => packets(file, 'BITS_POST')

/** BITS by POST, for servers that do not accept the method BITS_POST. */
export const override: Protocol = (file) => packets(file, 'POST', { 'X-HTTP-Method-Override': 'BITS_POST' })

/** Create-Session, Fragments, Close-Session. */
function* packets(
  file: File,
  method: string,
  more: Readonly<Record<string, string>> = {},
): ReturnType<Protocol> {
  const line = `${method} /files/${file.name}`
  const created = yield {
    head: head(line, {
      ...more,
      'BITS-Packet-Type': 'Create-Session',
      'BITS-Supported-Protocols': protocolId,
      'Content-Length': 0,
    }),
  }
  expectResponse(created, 200)
  const session = { ...more, 'BITS-Session-Id': created.field('BITS-Session-Id') ?? '' }
  for (const { first, last, body } of fragmentsOf(file)) {
    const fields = {
      ...session,
      'BITS-Packet-Type': 'Fragment',
      'Content-Range': `bytes ${first}-${last}/${file.size}`,
      'Content-Length': body.length,
    }
    expectResponse(yield { head: head(line, fields), body }, 200, 'BITS-Received-Content-Range', last + 1)
  }
  const fields = { ...session, 'BITS-Packet-Type': 'Close-Session', 'Content-Length': 0 }
  expectResponse(yield { head: head(line, fields) }, 200)
}
