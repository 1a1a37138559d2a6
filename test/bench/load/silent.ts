import { Connection } from './connection.ts'
import { contents } from './contents.ts'
import type { LoadMessage, SilentJob } from './job.ts'
import { protocols } from './protocols/index.ts'

/** Connections that are opened at the same time: a listener's queue in the kernel is short. */
const Concurrency = 50

/** Opens the uploads, reports when all of them are silent, and leaves them open until the process ends. */
export async function openSilentUploads(
  job: SilentJob,
  report: (message: LoadMessage) => void,
): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < job.uploads) await open(job, job.from + next++)
  }
  await Promise.all(Array.from({ length: Concurrency }, worker))
  report({ type: 'silent' })
}

async function open({ port, protocol, size, fragment, sentBytes }: SilentJob, index: number): Promise<void> {
  const connection = await Connection.open(port, () => {})
  const read = (first: number, length: number): Buffer[] => contents(index, first, length)
  const steps = protocols[protocol]({ name: `h${index}`, size, fragment, read })
  for (let step = steps.next(); !step.done; ) {
    const { head, body } = step.value
    if (body) return connection.send(head, { length: sentBytes, read: body.read })
    step = steps.next(await connection.exchange(step.value))
  }
}
