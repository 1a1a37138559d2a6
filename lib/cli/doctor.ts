import { type CommonSettings, readCancelOptions } from '../client/options.ts'
import { type Command, ExitCode, UsageError, type Values } from './command.ts'
import { clientHelp, clientOptions, readConnection, readTargetUrl } from './connection.ts'
import { buffering } from './doctor/buffering.ts'
import { completeUploadCheck } from './doctor/complete.ts'
import { connectivity } from './doctor/connectivity.ts'
import { type Check, CheckContext, type Finding, fault, NoSession, warning } from './doctor/context.ts'
import { createSessionCheck } from './doctor/create-session.ts'
import { endSession } from './doctor/end-session.ts'
import { fragmentLimit } from './doctor/fragment-limit.ts'
import { fragments } from './doctor/fragments.ts'
import { method } from './doctor/method.ts'
import { NoResponse } from './doctor/prober.ts'
import { countOf } from './format.ts'
import { stopSignal } from './server.ts'
import { numberOf } from './values.ts'

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

/** Each check needs the ones before it, so that the first fault is the first cause. */
const checks: readonly Check[] = [
  connectivity,
  method,
  createSessionCheck,
  fragments,
  fragmentLimit,
  buffering,
  endSession,
]

export const doctor: Command = {
  summary: 'finds what is wrong between this machine and a server',
  help: doctorHelp,
  options: { ...clientOptions, complete: { type: 'boolean' }, timeout: { type: 'string' } },

  async run(values, positionals) {
    const [text, ...more] = positionals
    if (text === undefined || more.length > 0) throw new UsageError('doctor takes one URL')
    const controller = new AbortController()
    void stopSignal().then(() => controller.abort(new Error('stopped')))
    const { url, settings } = readDoctorArguments(text, values, controller.signal)
    const list = values.complete === true ? [...checks, completeUploadCheck] : checks
    const counts = { fault: 0, warning: 0, ok: 0 }
    try {
      for await (const finding of runAll(new CheckContext(url, settings), list)) {
        counts[finding.level] += 1
        print(finding)
      }
    } catch (error) {
      if (!controller.signal.aborted) throw error
      console.log('Stopped before the end.')
      return ExitCode.Incomplete
    }
    const warnings = counts.warning > 0 ? `, ${countOf(counts.warning, 'warning')}` : ''
    console.log(`${counts.fault > 0 ? countOf(counts.fault, 'fault') : 'No faults'}${warnings}`)
    return counts.fault > 0 ? ExitCode.Failed : ExitCode.Ok
  },
}

/** Runs the checks in order, until one makes the rest pointless. Cancels the open sessions in any case. */
async function* runAll(context: CheckContext, list: readonly Check[]): AsyncGenerator<Finding> {
  try {
    for (const [index, check] of list.entries()) {
      if (yield* runCheck(context, check)) continue
      const rest = list.slice(index + 1).map(({ name }) => name)
      if (rest.length > 0) console.log(`Not checked because of this: ${rest.join(', ')}`)
      return
    }
  } finally {
    const { open, unknown } = await context.cleanUp()
    const expiry = 'The server removes them when they expire (expireAfter; IIS: BITSSessionTimeout).'
    if (unknown > 0) {
      print(warning(`${countOf(unknown, 'session')} without a known id may be open on the server`, expiry))
    }
    if (open.length > 0) {
      print(warning(`${countOf(open.length, 'session')} could not be cancelled: ${open.join(' ')}`, expiry))
    }
  }
}

async function* runCheck(context: CheckContext, { name, run }: Check): AsyncGenerator<Finding, boolean> {
  try {
    return yield* run(context)
  } catch (error) {
    if (!(error instanceof NoResponse || error instanceof NoSession)) throw error
    if (error instanceof NoResponse) {
      yield fault(
        `The check ended early (${name}): ${error.request} is not answered: ${error.message}`,
        'Run it again. If the same packet gets no answer, see the logs of the server and of the proxies for this time: one ' +
          'of them holds it back, or its answer.',
      )
    } else {
      const { remedy } = error.explanation
      yield fault(`The check ended early (${name}): ${error.message}`, `${remedy} Run it again after that.`)
    }
    return false
  }
}

const labels = { ok: 'ok   ', warning: 'warn ', fault: 'FAULT' } as const

function print({ level, text, remedy }: Finding): void {
  console.log(`${labels[level]}  ${text}`)
  if (remedy !== undefined) console.log(`       ${remedy}`)
}

/** @throws {UsageError} for a URL or an option that the client refuses */
function readDoctorArguments(
  text: string,
  values: Values,
  signal: AbortSignal,
): { readonly url: URL; readonly settings: CommonSettings } {
  const timeout = (numberOf(values, 'timeout', 1, 3600) ?? 20) * 1000
  const connection = readConnection(values)
  const url = readTargetUrl(text)
  try {
    const options = { ...connection, sendTimeout: timeout, responseTimeout: timeout, signal }
    return { url, settings: readCancelOptions(options) }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new UsageError(error.message.replace(/^\w+: /, ''))
  }
}
