import type { Command } from '../command.ts'

/** Connection options of all client commands. */
export const clientOptions: Command['options'] = {
  user: { type: 'string', short: 'u' },
  header: { type: 'string', short: 'H', multiple: true },
  cacert: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  insecure: { type: 'boolean', short: 'k' },
}

/** Connection options of the commands that retry. */
export const connectionOptions: Command['options'] = { ...clientOptions, 'give-up': { type: 'string' } }

export const clientHelp = `Connection:
  -u, --user NAME:PASSWORD Credentials for Basic or Digest, sent when the server asks for them; or BITS_UPLOAD_USER in the
                           environment, where other users of this machine cannot see them.
  -H, --header 'NAME: VALUE'
                           Header field of every request, such as a token; repeat for more fields.
      --cacert FILE        Certificate of the authority that signed the server's, PEM, if Node does not know it.
      --cert FILE --key FILE
                           Client certificate and its key, PEM.
  -k, --insecure           Accept any certificate of the server; only for tests.
`

export const giveUpHelp = `      --give-up MINUTES    Stop after this time without progress; the upload can be resumed. 0: no retries. Default: 60`

/** Environment variables of the commands that keep job files. */
export const environmentHelp = `Environment:
  BITS_UPLOAD_USER         Credentials, if --user is missing.
  BITS_UPLOAD_JOBS         Directory of the job files, which record unfinished uploads. Default:
                             Linux    ~/.local/share/express-bits-upload/jobs, or below XDG_DATA_HOME
                             macOS    ~/Library/Application Support/express-bits-upload/jobs
                             Windows  %LOCALAPPDATA%\\express-bits-upload\\Data\\jobs
`
