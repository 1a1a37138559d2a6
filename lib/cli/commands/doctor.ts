import type { Command } from '../command.ts'
import { clientHelp, clientOptions } from './connection-options.ts'

const doctorHelp = `Checks whether a BITS server answers at a URL, and what is wrong with it or with the proxies in front of it.

Usage: express-bits-upload doctor [OPTION…] URL

Pass the URL that the clients use: of a folder, which ends with a slash, or of a file. doctor sends the requests that a
client sends. It checks the host name, the port and the certificate; Ping, with the method BITS_POST; Create-Session;
Fragments in order, repeated, after a gap and overlapping; a Fragment of 13 MB, the largest that Windows sends, or else
the largest that passes; an interrupted Fragment; Close-Session and Cancel-Session.

The probe upload is named bits-doctor-….tmp, in the folder of the URL. It is never finished, and its sessions are
cancelled at the end; a session that may stay on the server is reported.

Each line is the result of a check; the line below a problem says what to do about it:
  ok     as it should be
  warn   uploads work, but not as well as they could
  FAULT  uploads fail, at least sometimes; the first fault may be the cause of the others

      --complete           Also upload a file of 1 KB, and fetch its reply if there is one. The file stays on the server.
      --timeout SECONDS    Time to wait for an answer. Default: 20

${clientHelp}
  -h, --help               Print this text.

Exit codes: 0 no faults (there may be warnings), 1 faults, 2 usage error, 3 stopped by a signal before the end.

Examples:
  express-bits-upload doctor https://files.example/upload/
  express-bits-upload doctor --user backup:s3cret --complete https://files.example/app/query.xml
`

export const doctorCommand: Command = {
  summary: 'finds what is wrong between this machine and a server',
  help: doctorHelp,
  options: { ...clientOptions, complete: { type: 'boolean' }, timeout: { type: 'string' } },
  run: async (values, positionals) => (await import('../doctor.ts')).runDoctor(values, positionals),
}
