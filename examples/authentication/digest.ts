/**
 * Digest authentication (RFC 7616): the password itself is never sent. The packages http-auth and
 * http-auth-connect run before bitsUpload().
 *
 * Digest signs the method and the path, but neither the packet nor the file. In production use HTTPS.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { BitsError, bitsUpload } from 'express-bits-upload'
import auth from 'http-auth'
import authConnect from 'http-auth-connect'

/**
 * A line of a file that `htdigest` writes. In production use such a file, `file: 'users.htdigest'`, and
 * protect it like passwords.
 */
const line = (user: string, password: string): string =>
  `${user}:uploads:${createHash('md5').update(`${user}:uploads:${password}`).digest('hex')}\n`

// A file, not a function that looks users up: if the function does not find a user, http-auth 4.2 uses the
// text `undefined` as the hash, and accepts signatures that were made with it.
const accounts = auth.digest({
  realm: 'uploads',
  file: () => line('alice', 'open sesame') + line('bob', 'knock knock'),
})

// http-auth quotes these two parameters, which a server must not do (RFC 7616, 3.3). How Windows reacts is
// not known.
const quoted = accounts.generateHeader.bind(accounts)
accounts.generateHeader = (result) => quoted(result).replace(/(algorithm|stale)="(\S+?)"/g, '$1=$2')

/** Checks that the signed path is that of the request (RFC 7616, 3.4.6), which http-auth does not check. */
function authorize({ user, headers, originalUrl }: Request & { user?: string }): string | false {
  const signed = accounts.parseAuthorization(headers.authorization ?? '')?.uri
  // The client signs the whole path. `request.url` is only the part below the mount path.
  if (signed !== originalUrl) throw new BitsError('invalid-packet', `Authorization is for ${signed}`)
  return user ?? false
}

const app = express()
app.use('/upload', authConnect(accounts), bitsUpload({ store: './incoming', authorize }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Time limits for slow lines and load balancers: see "Time limits" in examples/frameworks/README.md.
server.requestTimeout = 0
server.keepAliveTimeout = 125_000
server.headersTimeout = 130_000
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)
