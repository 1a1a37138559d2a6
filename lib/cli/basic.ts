import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { UsageError } from './command.ts'

/**
 * A hook `authorize` for Basic authentication.
 * @param users each `name:password`
 * @throws {UsageError} for one that is not
 */
export function basicAuthentication(users: readonly string[]): (request: IncomingMessage) => string {
  const digests = new Map(users.map(readServerUser))
  const nobody = digest('')
  return ({ headers }) => {
    const [, credentials = ''] = /^Basic +(\S+)$/i.exec(headers.authorization ?? '') ?? []
    const [, name = '', password = ''] =
      /^([^:]*):(.*)$/s.exec(Buffer.from(credentials, 'base64').toString()) ?? []
    const expected = digests.get(name)
    // Compared for unknown users too: who there is must not show in the time it takes.
    const isRight = timingSafeEqual(digest(password), expected ?? nobody)
    if (isRight && expected !== undefined) return name
    // Windows sends credentials only when it is asked for them.
    throw new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads", charset="UTF-8"' })
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

function readServerUser(user: string): [name: string, password: Buffer] {
  const [, name, password] = /^([^:]+):(.+)$/s.exec(user) ?? []
  if (name === undefined || password === undefined) throw new UsageError('--user is NAME:PASSWORD')
  return [name, digest(password)]
}
