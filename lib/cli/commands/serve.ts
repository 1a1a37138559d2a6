import type { Command } from '../command.ts'

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
  run: async (values, positionals) => (await import('../serve.ts')).runServe(values, positionals),
}
