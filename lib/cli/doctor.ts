import { type CommonSettings, readCancelOptions } from '../client/options.ts'
import { ExitCode, stopSignal, UsageError, type Values } from './command.ts'
import { readConnection, readTargetUrl } from './connection.ts'
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
import { numberOf } from './values.ts'

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

/** Runs {@link doctorCommand}. */
export async function runDoctor(values: Values, positionals: readonly string[]): Promise<number> {
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
