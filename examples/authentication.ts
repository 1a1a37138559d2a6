/**
 * Only for those who have a password (Basic authentication). On Windows:
 *
 *     Start-BitsTransfer -TransferType Upload -Authentication Basic -Credential (Get-Credential) -Source … -Destination …
 *
 * Basic sends the password itself, so in earnest serve this over HTTPS (see https.ts).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { BitsError, bitsUpload } from 'express-bits-upload'

/** In earnest: hashes, made by a slow function such as scrypt. */
const passwords = new Map([
  ['alice', 'open sesame'],
  ['bob', 'knock knock'],
])

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Asked for every packet. Who it returns owns the session: nobody else's packets will find it. */
function authorize(request: Request): string {
  const [, credentials = ''] = /^Basic +(\S+)$/i.exec(request.headers.authorization ?? '') ?? []
  const [, user = '', password = ''] =
    /^([^:]*):(.*)$/s.exec(Buffer.from(credentials, 'base64').toString()) ?? []
  const expected = passwords.get(user)
  // Compared as digests, for the comparison wants equal lengths; also for unknown users, who are not to be told apart.
  const isRight = timingSafeEqual(digest(password), digest(expected ?? ''))
  if (isRight && expected !== undefined) return user
  // Windows sends credentials only when it is asked for them.
  throw new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })
}

const app = express()
app.use('/upload', bitsUpload({ store: './incoming', authorize }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)
