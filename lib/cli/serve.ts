import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { type BitsUploadOptions, bitsUpload, type Durability, fileStore, type Store } from '../index.ts'
import { createDirectories } from '../stores/file/file-system.ts'
import { basicAuthentication } from './basic.ts'
import { ExitCode, stopSignal, UsageError, type Values } from './command.ts'
import { directoryError } from './directory-error.ts'
import { openDisplay } from './display.ts'
import { listenerOf, listenOn, serverOf } from './server.ts'
import { printUploads } from './uploads.ts'
import { numberOf, sizeValue } from './values.ts'

/** Runs {@link serveCommand}. */
export async function runServe(values: Values, positionals: readonly string[]): Promise<number> {
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
  // Before the greeting, because a program that reads it may send the signal at once.
  const stopped = stopSignal()
  display.line(greeting(server, scheme, path, directory, values))
  await stopped
  display.line('Stopping after the packets in progress. Unfinished uploads can be resumed after a restart.')
  server.close()
  await upload.close()
  server.closeAllConnections()
  display.close()
  console.log(summarize())
  return ExitCode.Ok
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
