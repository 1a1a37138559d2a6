/**
 * Only for those who have a password: Basic authentication, by the packages http-auth and http-auth-connect in front
 * of bitsUpload(). Any other middleware that sets `request.user` fits as well. On Windows (from Microsoft's pages, not
 * run here):
 *
 *     Start-BitsTransfer -TransferType Upload -Authentication Basic -Credential (Get-Credential) -Source … -Destination …
 *
 * Basic sends the password itself, with every packet: in earnest serve this over HTTPS (see https.ts).
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { bitsUpload } from 'express-bits-upload'
import auth from 'http-auth'
import authConnect from 'http-auth-connect'

/** In earnest: hashes, made by a slow function such as scrypt, and remembered for a while: each packet is checked. */
const passwords = new Map([
  ['alice', 'open sesame'],
  ['bob', 'knock knock'],
])

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Compared as digests, for they are of equal lengths; also for unknown users, who are not to be told apart. */
function isRight(user: string, password: string): boolean {
  const expected = passwords.get(user)
  return timingSafeEqual(digest(password), digest(expected ?? '')) && expected !== undefined
}

const accounts = auth.basic({ realm: 'uploads' }, (user, password, callback) =>
  callback(isRight(user, password)),
)

const upload = bitsUpload<Request & { user?: string }>({
  store: './incoming',
  // Who it returns owns the session: nobody else's packets will find it. `false`: should passwords not be asked for any
  // more, nobody gets in rather than everybody.
  authorize: ({ user }) => user ?? false,
})

const app = express()
app.use('/upload', authConnect(accounts), upload)

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)
