import { readFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { hostname } from 'node:os'
import { UsageError } from './command.ts'

/** Where a server's certificate comes from; nowhere: it speaks plain HTTP. */
export interface CertificateOptions {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly selfSigned: boolean
}

/** @throws {UsageError} for options that contradict each other */
export async function serverOf(
  { cert, key, selfSigned }: CertificateOptions,
  listener: RequestListener,
): Promise<{ readonly server: Server; readonly scheme: 'http' | 'https' }> {
  if (selfSigned) {
    if (cert !== undefined || key !== undefined)
      throw new UsageError('--self-signed stands instead of --cert and --key')
    return { server: createTlsServer(await makeCertificate(), listener), scheme: 'https' }
  }
  if ((cert === undefined) !== (key === undefined)) throw new UsageError('--cert and --key belong together')
  if (cert === undefined || key === undefined) return { server: createServer(listener), scheme: 'http' }
  return {
    server: createTlsServer({ cert: readFileSync(cert), key: readFileSync(key) }, listener),
    scheme: 'https',
  }
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

/** @throws {Error} that says what to do about a port that is taken */
export function listen(server: Server, port: number, host: string | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error)
      reject(new Error(`port ${port} is taken: end who listens there, or say --port with another`))
    })
    server.listen({ port, ...(host !== undefined && { host }) }, resolve)
  })
}

/** Resolves at the first signal to stop; the second, of either kind, ends the process as it would any. */
export function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    const signals = ['SIGINT', 'SIGTERM'] as const
    const stop = (): void => {
      for (const signal of signals) process.off(signal, stop)
      resolve()
    }
    for (const signal of signals) process.on(signal, stop)
  })
}
