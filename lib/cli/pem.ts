import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { SecureContextOptions } from 'node:tls'
import { tls } from '../builtins.ts'

/**
 * Reads a file that an option names.
 * @throws {Error} that names the option and the file
 */
function readOptionFile(option: string, file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = readErrors[code ?? '']
    throw new Error(`${option}: cannot read ${file}: ${why === undefined ? message : `${why} (${code})`}`)
  }
}

const readErrors: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  EISDIR: 'it is a directory',
  EACCES: 'this user has no permission',
}

/**
 * Reads a certificate and its key, of `--cert` and `--key`.
 * @throws {Error} that names the option and the file, if a file cannot be used
 */
export function readCertificate(cert: string, key: string): { readonly cert: Buffer; readonly key: Buffer } {
  const pems = { cert: readOptionFile('--cert', cert), key: readOptionFile('--key', key) }
  assertUsable({ cert: pems.cert }, () => `--cert: ${cert} is not a certificate in PEM form`)
  assertUsable({ key: pems.key }, () =>
    pems.key.includes('ENCRYPTED')
      ? `--key: ${key} is encrypted; decrypt it: openssl pkey -in ${key} -out FILE`
      : `--key: ${key} is not a private key in PEM form`,
  )
  assertUsable(pems, () => `--key: ${key} is not the key of the certificate ${cert}`)
  return pems
}

/**
 * Reads the certificates of `--cacert`.
 * @throws {Error} that names the option and the file, if the file cannot be used
 */
export function readAuthority(file: string): Buffer {
  const pem = readOptionFile('--cacert', file)
  const certificates = pem.toString('latin1').match(/-----BEGIN [^-]+-----[^-]*-----END [^-]+-----/g)
  try {
    // Node ignores a certificate authority that it cannot read.
    if (!certificates) throw new Error('no certificate')
    for (const certificate of certificates) new X509Certificate(certificate)
  } catch (cause) {
    throw new Error(`--cacert: ${file} is not a certificate in PEM form`, { cause })
  }
  return pem
}

function assertUsable(options: SecureContextOptions, message: () => string): void {
  try {
    tls().createSecureContext(options)
  } catch (cause) {
    throw new Error(`${message()} (${(cause as Error).message})`, { cause })
  }
}
