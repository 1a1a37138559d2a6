/**
 * Basic authentication: only users with a password can upload. The packages http-auth and http-auth-connect
 * run before bitsUpload(). Any other middleware that sets `request.user` works as well.
 *
 * Basic sends the password itself with every packet. In production use HTTPS.
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
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)
