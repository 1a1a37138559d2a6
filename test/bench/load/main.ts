/** The load client, in a process of its own: takes jobs over IPC, one after the other, and ends when its parent does. */
import { hold } from './hold.ts'
import type { Job, Word } from './job.ts'
import { press } from './press.ts'

const say = (word: Word): void => void process.send?.(word)

process.on('message', (job: Job) => {
  const work = job.kind === 'press' ? press(job, say) : hold(job, say)
  work.catch((error) => say({ type: 'failed', reason: String(error.stack ?? error) }))
})
process.on('disconnect', () => process.exit())
