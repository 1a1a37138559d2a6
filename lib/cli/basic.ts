import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BitsError } from '../protocol/errors.ts'
import { UsageError } from './command.ts'

/**
 * Returns a hook `authorize` for Basic authentication. Credentials are accepted in UTF-8, which the challenge asks
 * for, and in Latin-1, which many clients send (RFC 7617).
 * @param users each `name:password`
 * @throws {UsageError} for another form
 */
export function basicAuthentication(users: readonly string[]): (request: IncomingMessage) => string {
  const digests = new Map(users.map(readServerUser))
  const unknownUser = digest('')
  const userOf = (credentials: string): string | undefined => {
    const [, name = '', password = ''] = /^([^:]*):(.*)$/s.exec(credentials) ?? []
    const expected = digests.get(name)
    // Passwords of unknown users are compared too: the time must not show which users exist.
    const isRight = timingSafeEqual(digest(password), expected ?? unknownUser)
    return isRight && expected !== undefined ? name : undefined
  }
  return ({ headers }) => {
    const [, encoded = ''] = /^Basic +(\S+)$/i.exec(headers.authorization ?? '') ?? []
    const bytes = Buffer.from(encoded, 'base64')
    // Both forms are always checked, for the same reason.
    const [inUtf8, inLatin1] = [userOf(bytes.toString('utf8')), userOf(bytes.toString('latin1'))]
    const user = inUtf8 ?? inLatin1
    if (user !== undefined) return user
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
