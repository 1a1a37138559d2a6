/**
 * Digest authentication (RFC 7616), by the packages http-auth and http-auth-connect in front of bitsUpload(): the
 * password itself is never sent. On Windows (from Microsoft's pages, not run here):
 *
 *     Start-BitsTransfer -TransferType Upload -Authentication Digest -Credential (Get-Credential) -Source … -Destination …
 *
 * It signs the verb and the path, neither the packet nor the file: in earnest serve this, too, over HTTPS (see https.ts).
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express, { type Request } from 'express'
import { BitsError, bitsUpload } from 'express-bits-upload'
import auth from 'http-auth'
import authConnect from 'http-auth-connect'

/** A line of a file as `htdigest` writes it. In earnest: `file: 'users.htdigest'`, and keep it like passwords. */
const line = (user: string, password: string): string =>
  `${user}:uploads:${createHash('md5').update(`${user}:uploads:${password}`).digest('hex')}\n`

// A file rather than a function that looks users up: of a user whom that does not find, http-auth 4.2 takes the hash to
// be the word `undefined`, and whoever signs with it is in.
const accounts = auth.digest({
  realm: 'uploads',
  file: () => line('alice', 'open sesame') + line('bob', 'knock knock'),
})

// http-auth quotes these two, which a server must not do (RFC 7616, 3.3); whether Windows would mind is not known.
const quoted = accounts.generateHeader.bind(accounts)
accounts.generateHeader = (result) => quoted(result).replace(/(algorithm|stale)="(\S+?)"/g, '$1=$2')

/** http-auth does not ask whether the path that was signed is the one that was sent, as it must (RFC 7616, 3.4.6). */
function authorize({ user, headers, originalUrl }: Request & { user?: string }): string | false {
  const signed = accounts.parseAuthorization(headers.authorization ?? '')?.uri
  // Signed is the whole path as the client wrote it; `request.url` is only what is below the mount path.
  if (signed !== originalUrl) throw new BitsError('invalid-packet', `Authorization is for ${signed}`)
  return user ?? false
}

const app = express()
app.use('/upload', authConnect(accounts), bitsUpload({ store: './incoming', authorize }))

const server = app.listen(Number(process.env.PORT ?? 8080))
// Node gives up requests after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
server.requestTimeout = 0
await once(server, 'listening')
console.log(`Send files to http://localhost:${(server.address() as AddressInfo).port}/upload/`)
