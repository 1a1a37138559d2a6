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
  /** Milliseconds after which a test that has not ended counts as failed. Default: it may take for ever. */
  readonly deadline?: number
}

/** Runs a suite, all tests at once, and records what becomes of each. */
export async function record(
  define: (runner: Runner) => void,
  { only, deadline }: RecordOptions = {},
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
      inTime(run(), deadline).then(
        () => passed.push(name),
        () => failed.push(name),
      ),
    ),
  )
  return { passed, failed, skipped }
}

function inTime(work: Promise<void>, deadline: number | undefined): Promise<void> {
  if (deadline === undefined) return work
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('It does not end')), deadline)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
