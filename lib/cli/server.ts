import type { RequestListener, Server } from 'node:http'
import { hostname } from 'node:os'
import { http, https } from '../builtins.ts'
import { type BitsUpload, mount } from '../index.ts'
import { UsageError } from './command.ts'
import { readCertificate } from './pem.ts'

/** Source of the server's certificate. Without one the server speaks HTTP. */
export interface CertificateOptions {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly selfSigned: boolean
}

/**
 * Settings of `serve`, which differ from the defaults of Node:
 *
 * - Node ends each request after 5 minutes; a fragment over a bad line takes longer. `idleTimeout` applies instead.
 * - Node closes an idle connection after 5 s. Clients pause longer, and load balancers reuse connections after up
 *   to 120 s: a fragment that is sent while the connection closes gets no answer.
 * - Node accepts 16 KB of header fields. A Kerberos token alone may have 48 KB.
 */
const serverSettings = {
  requestTimeout: 0,
  keepAliveTimeout: 125_000,
  headersTimeout: 130_000,
  maxHeaderSize: 64 * 1024,
}

/**
 * Creates the server of `serve`.
 * @throws {UsageError} for options that exclude each other, and an Error that names a file that is not usable
 */
export async function serverOf(
  { cert, key, selfSigned }: CertificateOptions,
  listener: RequestListener,
): Promise<{ readonly server: Server; readonly scheme: 'http' | 'https' }> {
  if (selfSigned) {
    if (cert !== undefined || key !== undefined)
      throw new UsageError('--self-signed cannot be used with --cert and --key')
    return {
      server: https().createServer({ ...serverSettings, ...(await makeCertificate()) }, listener),
      scheme: 'https',
    }
  }
  if ((cert === undefined) !== (key === undefined))
    throw new UsageError('--cert and --key must be used together')
  if (cert === undefined || key === undefined)
    return { server: http.createServer(serverSettings, listener), scheme: 'http' }
  const pems = readCertificate(cert, key)
  return { server: https().createServer({ ...serverSettings, ...pems }, listener), scheme: 'https' }
}

async function makeCertificate(): Promise<{ readonly cert: string; readonly key: string }> {
  const selfsigned = await import('selfsigned').catch(() => {
    throw new Error('--self-signed needs the package selfsigned: npm install selfsigned')
  })
  const names = [...new Set([hostname(), 'localhost'])]
  const { cert, private: key } = await selfsigned.generate([{ name: 'commonName', value: hostname() }], {
    algorithm: 'sha256',
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [...names.map((value) => ({ type: 2 as const, value })), { type: 7, ip: '127.0.0.1' }],
      },
    ],
  })
  return { cert, key }
}

/** The listener of `serve`: uploads below a mount path. Other requests are answered 404. */
export function listenerOf(path: string, upload: BitsUpload): RequestListener {
  const mounted = mount(path, upload)
  return (request, response) =>
    mounted(request, response, () => {
      response
        .writeHead(404, { 'Content-Type': 'text/plain' })
        .end('This server only accepts BITS uploads.\n')
    })
}

/** @throws {Error} whose message says what to do if the port is in use */
export function listenOn(server: Server, port: number, host: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      reject(new Error(`port ${port} is in use: stop the other server, or choose another port with --port`))
    })
    server.listen({ port, ...(host !== undefined && { host }) }, resolve)
  })
}
