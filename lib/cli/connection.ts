import type { ConnectionSettings } from '../client/index.ts'
import { UsageError, type Values } from './command.ts'
import { readAuthority, readCertificate } from './pem.ts'
import { numberOf } from './values.ts'

/**
 * Reads the URL that files are sent to: of a file, or of a folder if it ends with a slash.
 * @throws {UsageError} for another text, and for a URL with credentials or a fragment
 */
export function readTargetUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new UsageError(
      `the last argument must be a URL such as https://files.example/upload/, not '${text}'`,
    )
  }
  if (url.username || url.password)
    throw new UsageError('the URL must not contain credentials; pass them with --user')
  // HTTP does not send the fragment: the file would get another name.
  if (url.href.includes('#'))
    throw new UsageError("the URL has a '#': write it as %23 if it belongs to the name")
  return url
}

/**
 * @param giveUpMinutes default of --give-up
 * @throws {UsageError} for a wrong value, and an Error for a file that cannot be read
 */
export function readConnection(values: Values, giveUpMinutes = 60): ConnectionSettings {
  const user = (values.user ?? (process.env.BITS_UPLOAD_USER || undefined)) as string | undefined
  const headers = (values.header ?? []) as readonly string[]
  const { cacert, cert, key } = values as { cacert?: string; cert?: string; key?: string }
  if ((cert === undefined) !== (key === undefined))
    throw new UsageError('--cert and --key must be used together')
  const giveUp = numberOf(values, 'give-up', 0, 35_000) ?? giveUpMinutes
  return {
    ...(user !== undefined && { auth: readClientUser(user) }),
    headers: Object.fromEntries(headers.map(readHeader)),
    tls: {
      ...(cacert !== undefined && { ca: readAuthority(cacert) }),
      ...(cert !== undefined && key !== undefined && readCertificate(cert, key)),
      ...(values.insecure === true && { rejectUnauthorized: false }),
    },
    noProgressTimeout: giveUp * 60_000,
  }
}

function readClientUser(text: string): { readonly user: string; readonly password: string } {
  const [, user, password] = /^([^:]+):(.*)$/s.exec(text) ?? []
  if (user === undefined || password === undefined) throw new UsageError('--user must be NAME:PASSWORD')
  return { user, password }
}

function readHeader(text: string): [name: string, value: string] {
  const [, name, value] = /^([^:\s]+):\s*(.*)$/s.exec(text) ?? []
  if (name === undefined || value === undefined)
    throw new UsageError(`--header must be 'NAME: VALUE', not '${text}'`)
  return [name, value]
}
