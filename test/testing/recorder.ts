import type { Runner } from '../../lib/testing/index.ts'

/** What became of the tests of a suite, by their names with all that stand above them. */
export interface Record {
  readonly passed: string[]
  readonly failed: string[]
  readonly skipped: string[]
}

interface RecordOptions {
  /** The one test to run, by its whole name. Default: all. */
  readonly only?: string
  /** Turns of the event loop after which a test that has not ended counts as failed. Default: no limit. */
  readonly maxTurns?: number
}

/** Runs a suite, all tests at once, and records what becomes of each. */
export async function record(
  define: (runner: Runner) => void,
  { only, maxTurns }: RecordOptions = {},
): Promise<Record> {
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

/** Rejects when the work takes more turns of the event loop: work in memory that has not ended then waits for nothing. */
function withinTurns(work: Promise<void>, maxTurns = Number.POSITIVE_INFINITY): Promise<void> {
  if (maxTurns === Number.POSITIVE_INFINITY) return work
  return new Promise((resolve, reject) => {
    let hasEnded = false
    work.then(resolve, reject).finally(() => {
      hasEnded = true
    })
    const turn = (left: number): void => {
      if (left === 0) reject(new Error(`The test did not end within ${maxTurns} turns of the event loop`))
      else if (!hasEnded) setImmediate(turn, left - 1)
    }
    turn(maxTurns)
  })
}
