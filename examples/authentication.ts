/**
 * Basic authentication: only users with a password can upload. The packages http-auth and http-auth-connect
 * run before bitsUpload(). Any other middleware that sets `request.user` works as well. On Windows (from
 * Microsoft's documentation, not tested here):
 *
 *     Start-BitsTransfer -TransferType Upload -Authentication Basic -Credential (Get-Credential) -Source … -Destination …
 *
 * Basic sends the password itself with every packet. In production use HTTPS (see https.ts).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { bitsUpload } from 'express-bits-upload'
import auth from 'http-auth'
import authConnect from 'http-auth-connect'

/**
 * In production store hashes made by a slow function such as scrypt, and cache the results for a while,
 * because every packet is checked.
 */
const passwords = new Map([
  ['alice', 'open sesame'],
  ['bob', 'knock knock'],
])

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/**
 * Compares digests, because timingSafeEqual() needs equal lengths. It also compares for unknown users, so
 * that the time does not reveal which users exist.
 */
function isRight(user: string, password: string): boolean {
  const expected = passwords.get(user)
  return timingSafeEqual(digest(password), digest(expected ?? '')) && expected !== undefined
}

const accounts = auth.basic({ realm: 'uploads' }, (user, password, callback) =>
  callback(isRight(user, password)),
)

const upload = bitsUpload<Request & { user?: string }>({
  store: './incoming',
  // The returned user owns the session. Packets of other users get `session-not-found`. `false` rejects all
  // packets if the middleware in front is removed by mistake.
  authorize: ({ user }) => user ?? false,
})

const app = express()
app.use('/upload', authConnect(accounts), upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// By default Node aborts a request after 5 minutes. A fragment over a slow line can take longer, and
// bitsUpload() has its own limit, `idleTimeout`.
server.requestTimeout = 0
// By default Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse a
// connection for 60 to 120 s: a fragment sent at that moment gets no answer.
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)
