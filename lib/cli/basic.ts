import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { UsageError } from './command.ts'

/**
 * Returns a hook `authorize` for Basic authentication.
 * @param users each `name:password`
 * @throws {UsageError} for another form
 */
export function basicAuthentication(users: readonly string[]): (request: IncomingMessage) => string {
  const digests = new Map(users.map(readServerUser))
  const unknownUser = digest('')
  return ({ headers }) => {
    const [, credentials = ''] = /^Basic +(\S+)$/i.exec(headers.authorization ?? '') ?? []
    const [, name = '', password = ''] =
      /^([^:]*):(.*)$/s.exec(Buffer.from(credentials, 'base64').toString()) ?? []
    const expected = digests.get(name)
    // Passwords of unknown users are compared too: the time must not show which users exist.
    const isRight = timingSafeEqual(digest(password), expected ?? unknownUser)
    if (isRight && expected !== undefined) return name
    // Windows sends credentials only after a challenge.
    throw new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads", charset="UTF-8"' })
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

function readServerUser(user: string): [name: string, password: Buffer] {
  const [, name, password] = /^([^:]+):(.+)$/s.exec(user) ?? []
  if (name === undefined || password === undefined) throw new UsageError('--user must be NAME:PASSWORD')
  return [name, digest(password)]
}
