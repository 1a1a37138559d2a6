import { type CommonSettings, readCancelOptions, readUploadUrl } from '../client/options.ts'
import { type Command, Failed, Incomplete, Ok, UsageError, type Values } from './command.ts'
import { clientHelp, clientOptions, readConnection } from './connection.ts'
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

const doctorHelp = `Tells whether a BITS server answers at a URL, and what is wrong with it or with what stands in between.

Usage: express-bits-upload doctor [OPTION…] URL

It goes where a client goes: to the host, its port and its certificate; Ping, by the verb BITS_POST; Create-Session;
Fragments in order, twice, behind a gap and overlapping; one of 13 MB, the largest that Windows sends, and if it does not
pass the largest that does; one that breaks off; Close-Session and Cancel-Session. The upload is a throw-away beside the
URL, or in the folder if it ends with a slash: bits-doctor-….tmp. It is never finished, and nothing of it stays.

Each line is something that was looked at. Below what is not as it should be stands what to do about it:
  ok     as it should be
  warn   uploads work, though not as well as they could
  FAULT  they do not, or not always

      --complete           a whole upload as well, of 1 KB, and the download of its reply if there is one. The file stays.
      --timeout SECONDS    silence after which there is no answer: 20

${clientHelp}  -h, --help

Exit codes: 0 no faults, 1 faults, 2 wrong use, 3 stopped before the end.

Examples:
  express-bits-upload doctor https://files.example/upload/
  express-bits-upload doctor --user backup:s3cret --complete https://files.example/app/query.xml
`

/** In the order in which one thing needs the other, so that the first cause is named first. */
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
  summary: 'tells what is wrong between here and a server',
  help: doctorHelp,
  options: { ...clientOptions, complete: { type: 'boolean' }, timeout: { type: 'string' } },

  async run(values, positionals) {
    const [text, ...more] = positionals
    if (text === undefined || more.length > 0) throw new UsageError('doctor takes one URL')
    const controller = new AbortController()
    void stopSignal().then(() => controller.abort(new Error('stopped')))
    const { url, settings } = readDoctorArguments(text, values, controller.signal)
    const list = values.complete === true ? [...checks, completeUploadCheck] : checks
    const found = { fault: 0, warning: 0, ok: 0 }
    try {
      for await (const finding of runAll(new CheckContext(url, settings), list)) {
        found[finding.level] += 1
        print(finding)
      }
    } catch (error) {
      if (!controller.signal.aborted) throw error
      console.log('Stopped before the end.')
      return Incomplete
    }
    const warnings = found.warning > 0 ? `, ${countOf(found.warning, 'warning')}` : ''
    console.log(`${found.fault > 0 ? countOf(found.fault, 'fault') : 'No faults'}${warnings}`)
    return found.fault > 0 ? Failed : Ok
  },
}

/** Makes one examination after the other, as long as that makes sense. Whatever happens, sessions are ended. */
async function* runAll(context: CheckContext, list: readonly Check[]): AsyncGenerator<Finding> {
  try {
    for (const [index, check] of list.entries()) {
      if (yield* runCheck(context, check)) continue
      const rest = list.slice(index + 1).map(({ name }) => name)
      if (rest.length > 0) console.log(`Not looked at for that: ${rest.join(', ')}`)
      return
    }
  } finally {
    const left = await context.cleanUp()
    if (left.length > 0) {
      print(
        warning(
          `${countOf(left.length, 'session')} could not be ended: ${left.join(' ')}`,
          'The server removes what nobody goes on with when its time is over (expireAfter; IIS: BITSSessionTimeout).',
        ),
      )
    }
  }
}

async function* runCheck(context: CheckContext, { name, run }: Check): AsyncGenerator<Finding, boolean> {
  try {
    return yield* run(context)
  } catch (error) {
    if (!(error instanceof NoResponse || error instanceof NoSession)) throw error
    yield fault(
      `In the midst of it, ${error.message} (${name})`,
      'Run it again: if it ends at the same place, see the logs of the server and of what stands in front for that time.',
    )
    return false
  }
}

const labels = { ok: 'ok   ', warning: 'warn ', fault: 'FAULT' } as const

function print({ level, text, remedy }: Finding): void {
  console.log(`${labels[level]}  ${text}`)
  if (remedy !== undefined) console.log(`       ${remedy}`)
}

/** @throws {UsageError} for what no packet can be sent to, or with */
function readDoctorArguments(
  text: string,
  values: Values,
  signal: AbortSignal,
): { readonly url: URL; readonly settings: CommonSettings } {
  const timeout = (numberOf(values, 'timeout', 1, 3600) ?? 20) * 1000
  const connection = readConnection(values)
  try {
    const options = { ...connection, sendTimeout: timeout, responseTimeout: timeout, signal }
    return { url: readUploadUrl(text), settings: readCancelOptions(options) }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new UsageError(error.message.replace(/^\w+: /, ''))
  }
}
