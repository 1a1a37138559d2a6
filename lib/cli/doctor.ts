import { type CommonSettings, readCancelOptions, readUploadUrl } from '../client/options.ts'
import { type Command, Done, Failed, Unfinished, UsageError, type Values } from './command.ts'
import { reachHelp, reachOptions, readConnection } from './connection.ts'
import { complete } from './doctor/complete.ts'
import { ending } from './doctor/ending.ts'
import type { Examination } from './doctor/examination.ts'
import { type Finding, fault, warning } from './doctor/finding.ts'
import { fragments } from './doctor/fragments.ts'
import { limit } from './doctor/limit.ts'
import { NoAnswer } from './doctor/line.ts'
import { passage } from './doctor/passage.ts'
import { reach } from './doctor/reach.ts'
import { createSession } from './doctor/session.ts'
import { verb } from './doctor/verb.ts'
import { NoSession, Visit } from './doctor/visit.ts'
import { count } from './format.ts'
import { stopSignal } from './server.ts'
import { numberOf } from './values.ts'

const help = `Tells whether a BITS server answers at a URL, and what is wrong with it or with what stands in between.

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

${reachHelp}  -h, --help

Exit codes: 0 no faults, 1 faults, 2 wrong use, 3 stopped before the end.

Examples:
  express-bits-upload doctor https://files.example/upload/
  express-bits-upload doctor --user backup:s3cret --complete https://files.example/app/query.xml
`

/** In the order in which one thing needs the other, so that the first cause is named first. */
const examinations: readonly Examination[] = [reach, verb, createSession, fragments, limit, passage, ending]

export const doctor: Command = {
  summary: 'tells what is wrong between here and a server',
  help,
  options: { ...reachOptions, complete: { type: 'boolean' }, timeout: { type: 'string' } },

  async run(values, positionals) {
    const [text, ...more] = positionals
    if (text === undefined || more.length > 0) throw new UsageError('doctor takes one URL')
    const controller = new AbortController()
    void stopSignal().then(() => controller.abort(new Error('stopped')))
    const { url, settings } = read(text, values, controller.signal)
    const list = values.complete === true ? [...examinations, complete] : examinations
    const found = { fault: 0, warning: 0, ok: 0 }
    try {
      for await (const finding of examineAll(new Visit(url, settings), list)) {
        found[finding.level] += 1
        print(finding)
      }
    } catch (error) {
      if (!controller.signal.aborted) throw error
      console.log('Stopped before the end.')
      return Unfinished
    }
    const warnings = found.warning > 0 ? `, ${count(found.warning, 'warning')}` : ''
    console.log(`${found.fault > 0 ? count(found.fault, 'fault') : 'No faults'}${warnings}`)
    return found.fault > 0 ? Failed : Done
  },
}

/** Makes one examination after the other, as long as that makes sense. Whatever happens, sessions are ended. */
async function* examineAll(visit: Visit, list: readonly Examination[]): AsyncGenerator<Finding> {
  try {
    for (const [index, examination] of list.entries()) {
      if (yield* examined(visit, examination)) continue
      const rest = list.slice(index + 1).map(({ name }) => name)
      if (rest.length > 0) console.log(`Not looked at for that: ${rest.join(', ')}`)
      return
    }
  } finally {
    const left = await visit.cleanUp()
    if (left.length > 0) {
      print(
        warning(
          `${count(left.length, 'session')} could not be ended: ${left.join(' ')}`,
          'The server removes what nobody goes on with when its time is over (expireAfter; IIS: BITSSessionTimeout).',
        ),
      )
    }
  }
}

async function* examined(visit: Visit, { name, examine }: Examination): AsyncGenerator<Finding, boolean> {
  try {
    return yield* examine(visit)
  } catch (error) {
    if (!(error instanceof NoAnswer || error instanceof NoSession)) throw error
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
function read(
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
