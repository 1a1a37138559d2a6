import { readFileSync } from 'node:fs'
import type { ConnectionSettings } from '../client/index.ts'
import { type Command, UsageError, type Values } from './command.ts'
import { numberOf } from './values.ts'

/** How a server is reached: options that all commands of the client have. */
export const clientOptions: Command['options'] = {
  user: { type: 'string', short: 'u' },
  header: { type: 'string', short: 'H', multiple: true },
  cacert: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  insecure: { type: 'boolean', short: 'k' },
}

/** And for how long: options of those that do not give up at once. */
export const connectionOptions: Command['options'] = { ...clientOptions, 'give-up': { type: 'string' } }

export const clientHelp = `The connection:
  -u, --user NAME:PASSWORD for Basic or Digest, sent when the server asks; or BITS_UPLOAD_USER in the environment,
                           where other users of this machine cannot see it
  -H, --header 'NAME: VALUE'
                           sent with every packet; as often as there are such
      --cacert FILE        PEM of who signed the server's certificate, if the system does not know it
      --cert FILE --key FILE
                           a client certificate, PEM
  -k, --insecure           any certificate will do: only to try
`

export const connectionHelp = `${clientHelp}      --give-up MINUTES    without progress for so long it ends, unfinished: 60; 0: at the first failure
`

/**
 * @param patience minutes, where --give-up does not say
 * @throws {UsageError} for values that are none, Error for files that cannot be read
 */
export function readConnection(values: Values, patience = 60): ConnectionSettings {
  const user = (values.user ?? (process.env.BITS_UPLOAD_USER || undefined)) as string | undefined
  const headers = (values.header ?? []) as readonly string[]
  const { cacert, cert, key } = values as { cacert?: string; cert?: string; key?: string }
  if ((cert === undefined) !== (key === undefined)) throw new UsageError('--cert and --key belong together')
  const giveUp = numberOf(values, 'give-up', 0, 35_000) ?? patience
  return {
    ...(user !== undefined && { auth: readClientUser(user) }),
    headers: Object.fromEntries(headers.map(readHeader)),
    tls: {
      ...(cacert !== undefined && { ca: readFileSync(cacert) }),
      ...(cert !== undefined && key !== undefined && { cert: readFileSync(cert), key: readFileSync(key) }),
      ...(values.insecure === true && { rejectUnauthorized: false }),
    },
    noProgressTimeout: giveUp * 60_000,
  }
}

function readClientUser(text: string): { readonly user: string; readonly password: string } {
  const [, user, password] = /^([^:]+):(.*)$/s.exec(text) ?? []
  if (user === undefined || password === undefined) throw new UsageError('--user is NAME:PASSWORD')
  return { user, password }
}

function readHeader(text: string): [name: string, value: string] {
  const [, name, value] = /^([^:\s]+):\s*(.*)$/s.exec(text) ?? []
  if (name === undefined || value === undefined)
    throw new UsageError(`--header is 'NAME: VALUE', not '${text}'`)
  return [name, value]
}
