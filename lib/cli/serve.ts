import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { type BitsUploadOptions, bitsUpload, type Durability, fileStore, type Store } from '../index.ts'
import { createDirectories } from '../stores/file/file-system.ts'
import { basicAuthentication } from './basic.ts'
import { type Command, ExitCode, UsageError, type Values } from './command.ts'
import { directoryError } from './directory-error.ts'
import { openDisplay } from './display.ts'
import { listenerOf, listenOn, serverOf, stopSignal } from './server.ts'
import { printUploads } from './uploads.ts'
import { numberOf, sizeValue } from './values.ts'

const serveHelp = `Receives files and writes them to a directory, by default ./incoming.

Usage: express-bits-upload serve [OPTION…] [DIRECTORY]

Address:
  -p, --port NUMBER        Port; 0: any free port. Default: PORT of the environment, or 8080
      --host ADDRESS       Address to listen on; 127.0.0.1: only for this machine. Default: all addresses
      --path PATH          Path of the URL below which files are received; /: any path. Default: /upload

Users and limits:
  -u, --user NAME:PASSWORD Allow this user (Basic authentication); repeat for more users. Without it, anyone can upload.
                           Windows: Start-BitsTransfer -Authentication Basic -Credential NAME
      --max-size SIZE      Largest file that is accepted: bytes, or a size such as 500mb or 1.5tb. Default: 10gb
      --max-sessions N     Largest number of open uploads; above it clients get 503, and retry. Default: 10000
      --max-sessions-per-user N
                           The same for each user of --user. Default: 50
      --create-folders     Create the folders in the URL of a file; without it, a file in a missing folder is refused.
      --overwrite          Replace existing files; without it, a file that exists is refused.
      --expire-days N      Remove an unfinished upload that received no bytes for N days. Default: 14

Storage:
      --durability LEVEL   When bytes are synced to the disk, which decides what a power loss costs. Default: file
                             file      every 64 MiB, and at the end: finished files are whole
                             fragment  before each answer: no acknowledged byte is sent again
                             none      never: finished files may be lost, too

HTTPS:
      --cert FILE --key FILE
                           Certificate and key, PEM. Windows uploads only to servers whose certificate it trusts.
      --self-signed        Create a certificate, for tests; needs the package selfsigned (npm install selfsigned).

  -h, --help               Print this text.

Environment:
  PORT                     Port, if --port is missing.

The server stops on Ctrl+C or SIGTERM: it completes the requests in progress, for up to 10 seconds. Clients can resume
unfinished uploads when it runs again with the same directory. A second Ctrl+C stops it at once.

Exit codes: 0 stopped by a signal, 1 failure, 2 usage error.

Examples:
  express-bits-upload serve
  express-bits-upload serve --port 80 --user backup:s3cret --max-size 50gb D:\\incoming
  express-bits-upload serve --cert /etc/ssl/site.pem --key /etc/ssl/site.key --port 443 /srv/incoming
`

export const serveCommand: Command = {
  summary: 'receives files',
  help: serveHelp,
  options: {
    port: { type: 'string', short: 'p' },
    host: { type: 'string' },
    path: { type: 'string' },
    user: { type: 'string', short: 'u', multiple: true },
    'max-size': { type: 'string' },
    'max-sessions': { type: 'string' },
    'max-sessions-per-user': { type: 'string' },
    overwrite: { type: 'boolean' },
    'create-folders': { type: 'boolean' },
    'expire-days': { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    'self-signed': { type: 'boolean' },
    durability: { type: 'string' },
  },

  async run(values, positionals) {
    if (positionals.length > 1) throw new UsageError('serve takes only one directory')
    const directory = resolve(positionals[0] ?? 'incoming')
    const path = readMountPath(values.path as string | undefined)
    const port = numberOf({ port: process.env.PORT || undefined, ...values }, 'port', 0, 65_535) ?? 8080
    const store = storeOf(values, directory)
    const upload = bitsUpload({ store, ...serveOptionsOf(values) })
    const certificate = {
      cert: values.cert as string | undefined,
      key: values.key as string | undefined,
      selfSigned: values['self-signed'] === true,
    }
    const { server, scheme } = await serverOf(certificate, listenerOf(path, upload))
    // Report a missing permission now, not with the first upload.
    await prepareDirectory(directory)
    // Creates the directory of the locks, and rejects if another machine uses it.
    await store.locker?.idPrefix?.()
    await listenOn(server, port, values.host as string | undefined)

    const display = openDisplay(process.stdout)
    const summarize = printUploads(upload.events, display, directory)
    display.line(greeting(server, scheme, path, directory, values))
    await stopSignal()
    display.line('Stopping after the packets in progress. Unfinished uploads can be resumed after a restart.')
    server.close()
    await upload.close()
    server.closeAllConnections()
    display.close()
    console.log(summarize())
    return ExitCode.Ok
  },
}

/** @throws {Error} that names the directory and says why uploads cannot be written to it */
async function prepareDirectory(directory: string): Promise<void> {
  try {
    await createDirectories(directory)
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw directoryError(`cannot write to the directory ${directory}`, cause)
  }
}

const storeOf = (values: Values, directory: string): Store =>
  fileStore(directory, {
    durability: durabilityOf(values),
    createFolders: values['create-folders'] === true,
  })

function serveOptionsOf(values: Values): Omit<BitsUploadOptions, 'store'> {
  const users = values.user as string[] | undefined
  const days = numberOf(values, 'expire-days', 1, 100_000)
  const maxSize = sizeValue(values, 'max-size')
  const maxSessions = numberOf(values, 'max-sessions', 1)
  const maxSessionsPerOwner = numberOf(values, 'max-sessions-per-user', 1)
  return {
    overwrite: values.overwrite === true,
    ...(users && { authorize: basicAuthentication(users) }),
    ...(maxSize !== undefined && { maxSize }),
    ...(maxSessions !== undefined && { maxSessions }),
    ...(maxSessionsPerOwner !== undefined && { maxSessionsPerOwner }),
    ...(days !== undefined && { expireAfter: days * 24 * 60 * 60 * 1000 }),
  }
}

function durabilityOf({ durability = 'file' }: Values): Durability {
  const level = (['file', 'fragment', 'none'] as const).find((name) => name === durability)
  if (level) return level
  throw new UsageError(`--durability must be file, fragment or none, not '${durability}'`)
}

/** The mount path: `/`, or `/a/b`. */
function readMountPath(text = '/upload'): string {
  const path = `/${text.replace(/^\/+|\/+$/g, '')}`
  if (!/^\/[\w.~/-]*$/.test(path))
    throw new UsageError(`--path must be a path such as /upload, not '${text}'`)
  return path
}

function greeting(server: Server, scheme: string, path: string, directory: string, values: Values): string {
  const { port, address } = server.address() as AddressInfo
  const isEverywhere = address === '::' || address === '0.0.0.0'
  const host = isEverywhere ? hostname() : address.includes(':') ? `[${address}]` : address
  const url = `${scheme}://${host}:${port}${path === '/' ? '/' : `${path}/`}`
  const isOpen = values.user === undefined && !/^(127\.|::1$)/.test(address)
  return `Send files to ${url}
They are written to ${directory}
${isOpen ? 'Anyone who can reach this server can upload: see --user.\n' : ''}
From Windows, in PowerShell:
  Start-BitsTransfer -TransferType Upload -Source C:\\Windows\\win.ini -Destination ${url}win.ini
or, at any command prompt:
  bitsadmin /transfer example /upload ${url}win.ini C:\\Windows\\win.ini
Ctrl+C stops the server.
`
}
