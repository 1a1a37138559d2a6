import type { Runner } from '../../lib/testing/index.ts'

/** The results of a suite: full names of tests, `describe` names first. */
export interface SuiteResult {
  readonly passed: string[]
  readonly failed: string[]
  readonly skipped: string[]
}

interface RecordOptions {
  /** The full name of the only test to run. Default: all tests. */
  readonly only?: string
  /** Turns of the event loop after which an unfinished test fails. Default: no limit. */
  readonly maxTurns?: number
}

/** Runs all tests of a suite concurrently and returns their results. */
export async function record(
  define: (runner: Runner) => void,
  { only, maxTurns }: RecordOptions = {},
): Promise<SuiteResult> {
  const path: string[] = []
  const tests: [name: string, run: () => Promise<void>][] = []
  const skipped: string[] = []
  const nameOf = (title: string): string => [...path, title].join(' > ')
  const it = (title: string, run: () => Promise<void>): void => {
    const name = nameOf(title)
    if (only === undefined || name === only) tests.push([name, run])
  }
  const skip = (title: string): void => void skipped.push(nameOf(title))
  define({
    describe(name, inner) {
      path.push(name)
      inner()
      path.pop()
    },
    it: Object.assign(it, { skip }),
  })
  const passed: string[] = []
  const failed: string[] = []
  await Promise.all(
    tests.map(([name, run]) =>
      withinTurns(run(), maxTurns).then(
        () => passed.push(name),
        () => failed.push(name),
      ),
    ),
  )
  return { passed, failed, skipped }
}

/**
 * Rejects when `work` takes more turns of the event loop. Work that uses memory only and is unfinished after
 * so many turns never ends.
 */
function withinTurns(work: Promise<void>, maxTurns = Number.POSITIVE_INFINITY): Promise<void> {
  if (maxTurns === Number.POSITIVE_INFINITY) return work
  return new Promise((resolve, reject) => {
    let hasEnded = false
    work.then(resolve, reject).finally(() => {
      hasEnded = true
    })
    const turn = (remaining: number): void => {
      if (remaining === 0)
        reject(new Error(`The test did not end within ${maxTurns} turns of the event loop`))
      else if (!hasEnded) setImmediate(turn, remaining - 1)
    }
    turn(maxTurns)
  })
}
