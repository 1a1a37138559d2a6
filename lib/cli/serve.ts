import { constants } from 'node:fs'
import { access, mkdir } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { type BitsUploadOptions, bitsUpload, type Durability, fileStore } from '../index.ts'
import { basicAuthentication } from './basic.ts'
import { type Command, Ok, UsageError, type Values } from './command.ts'
import { openDisplay } from './display.ts'
import { mount } from './mount.ts'
import { listen, serverOf, stopSignal } from './server.ts'
import { printUploads } from './uploads.ts'
import { numberOf, sizeValue } from './values.ts'

const serveHelp = `Receives files. They land in a directory, by default ./incoming.

Usage: express-bits-upload serve [OPTION…] [DIRECTORY]

Where it listens:
  -p, --port NUMBER        PORT of the environment, else 8080; 0 takes a free one
      --host ADDRESS       every address of this machine; 127.0.0.1 for itself only
      --path PATH          the URL's path that files are sent below: /upload

Who may send, and what:
  -u, --user NAME:PASSWORD who has this may (Basic authentication); as often as there are users. Without it, anybody.
                           Windows asks for it: Start-BitsTransfer -Authentication Basic -Credential NAME
      --max-size SIZE      largest file: 10gb
      --max-sessions N     uploads open at once: 10000
      --max-sessions-per-user N
                           the same for each user: 50
      --create-folders     folders in a file's URL are made; else it is refused if they are not there
      --overwrite          files may be replaced; else a name that is taken is refused
      --expire-days N      an upload that got no byte for so long is removed: 14

HTTPS:
      --cert FILE --key FILE
                           PEM files. Windows sends only to servers whose certificate it trusts.
      --self-signed        a certificate made on the spot, to try: needs the package selfsigned

      --durability LEVEL   what a loss of power may cost: file, fragment or none (see README): file
  -h, --help

It stops on Ctrl+C or SIGTERM: packets being worked on come to their end, and unfinished uploads go on when it is started
again over the same directory. A second Ctrl+C stops it at once.

Examples:
  express-bits-upload serve
  express-bits-upload serve --port 80 --user backup:s3cret --max-size 50gb D:\\incoming
  express-bits-upload serve --cert /etc/ssl/site.pem --key /etc/ssl/site.key --port 443 /srv/incoming
`

export const serveCommand: Command = {
  summary: 'receives files, from Windows or from anywhere',
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
    if (positionals.length > 1) throw new UsageError('serve takes one directory')
    const directory = resolve(positionals[0] ?? 'incoming')
    const path = storePath(values.path as string | undefined)
    const port = numberOf({ port: process.env.PORT || undefined, ...values }, 'port', 0, 65_535) ?? 8080
    const upload = bitsUpload(serveOptionsOf(values, directory))
    const certificate = {
      cert: values.cert as string | undefined,
      key: values.key as string | undefined,
      selfSigned: values['self-signed'] === true,
    }
    const { server, scheme } = await serverOf(certificate, mount(path, upload))
    // Node gives up any request after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` watches instead.
    server.requestTimeout = 0
    // Else the first to notice would be whoever sends the first file.
    await mkdir(directory, { recursive: true })
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
    await listen(server, port, values.host as string | undefined)

    const display = openDisplay(process.stdout)
    const summarize = printUploads(upload.events, display, directory)
    display.line(greeting(server, scheme, path, directory, values))
    await stopSignal()
    display.line(
      'Stopping: packets being worked on may end. Unfinished uploads go on when this is started again.',
    )
    server.close()
    await upload.close()
    server.closeAllConnections()
    display.close()
    console.log(summarize())
    return Ok
  },
}

function serveOptionsOf(values: Values, directory: string): BitsUploadOptions {
  const users = values.user as string[] | undefined
  const days = numberOf(values, 'expire-days', 1, 100_000)
  const maxSize = sizeValue(values, 'max-size')
  const maxSessions = numberOf(values, 'max-sessions', 1)
  const maxSessionsPerOwner = numberOf(values, 'max-sessions-per-user', 1)
  return {
    store: fileStore(directory, {
      durability: durabilityOf(values),
      createFolders: values['create-folders'] === true,
    }),
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
  throw new UsageError(`--durability is file, fragment or none, not '${durability}'`)
}

/** The mount path: `/`, or `/a/b`. */
function storePath(text = '/upload'): string {
  const path = `/${text.replace(/^\/+|\/+$/g, '')}`
  if (!/^\/[\w.~/-]*$/.test(path)) throw new UsageError(`--path is a path such as /upload, not '${text}'`)
  return path
}

function greeting(server: Server, scheme: string, path: string, directory: string, values: Values): string {
  const { port, address } = server.address() as AddressInfo
  const isEverywhere = address === '::' || address === '0.0.0.0'
  const host = isEverywhere ? hostname() : address.includes(':') ? `[${address}]` : address
  const url = `${scheme}://${host}:${port}${path === '/' ? '/' : `${path}/`}`
  const isOpen = values.user === undefined && !/^(127\.|::1$)/.test(address)
  return `Send files to ${url}
They land in ${directory}
${isOpen ? 'Anybody who reaches it may send: see --user.\n' : ''}
From Windows, in PowerShell:
  Start-BitsTransfer -TransferType Upload -Source C:\\Windows\\win.ini -Destination ${url}win.ini
or, at any prompt:
  bitsadmin /transfer example /upload ${url}win.ini C:\\Windows\\win.ini
Ctrl+C stops it.
`
}
