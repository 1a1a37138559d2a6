import { Connection } from './connection.ts'
import { contents } from './contents.ts'
import { dialects } from './dialects/dialects.ts'
import type { HoldJob, Word } from './job.ts'

/** Connections that are opened at a time: the kernel's queue of a listener is short. */
const AtATime = 50

/** Brings the uploads to where they are silent, says so, and leaves them there until the process ends. */
export async function hold(job: HoldJob, say: (word: Word) => void): Promise<void> {
  let next = 0
  const line = async (): Promise<void> => {
    while (next < job.uploads) await begin(job, job.from + next++)
  }
  await Promise.all(Array.from({ length: AtATime }, line))
  say({ type: 'held' })
}

async function begin({ port, dialect, size, fragment, sent }: HoldJob, index: number): Promise<void> {
  const connection = await Connection.open(port, () => {})
  const read = (first: number, length: number): Buffer[] => contents(index, first, length)
  const steps = dialects[dialect]({ name: `h${index}`, size, fragment, read })
  for (let step = steps.next(); !step.done; ) {
    const { head, body } = step.value
    if (body) return connection.send(head, { length: sent, read: body.read })
    step = steps.next(await connection.exchange(step.value))
  }
}
