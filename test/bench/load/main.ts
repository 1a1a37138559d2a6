/** The load client: runs jobs from its parent process, one after another, and exits when its parent does. */
import type { Job, LoadMessage } from './job.ts'
import { openSilentUploads } from './silent.ts'
import { measureThroughput } from './throughput.ts'

const report = (message: LoadMessage): void => void process.send?.(message)

process.on('message', (job: Job) => {
  const work = job.kind === 'throughput' ? measureThroughput(job, report) : openSilentUploads(job, report)
  work.catch((error) => report({ type: 'failed', reason: String(error.stack ?? error) }))
})
process.on('disconnect', () => process.exit())
