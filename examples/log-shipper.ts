/**
 * Uploads logs: sends each `*.log` file of a folder, unless it was written within the last hour, and removes
 * it when the server has it completely. Run it every night with cron or the Task Scheduler. The next run
 * resumes interrupted uploads at the offset that the server has.
 *
 *     node log-shipper.mjs /var/log/app https://files.example/upload/logs/
 */
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { uploadFile } from 'express-bits-upload/client'

const [folder = '.', destination = 'http://localhost:8080/upload/'] = process.argv.slice(2)
/** A log that was written within this time is skipped. Milliseconds. */
const QuietTimeMs = 60 * 60 * 1000
/** Ends the run after 6 hours. The job files let the next run resume. */
const endOfRun = AbortSignal.timeout(6 * 60 * 60 * 1000)

const jobs = join(folder, '.jobs')
await mkdir(jobs, { recursive: true })

for (const name of (await readdir(folder)).filter((each) => each.endsWith('.log'))) {
  const path = join(folder, name)
  if (Date.now() - (await stat(path)).mtimeMs < QuietTimeMs) continue
  // The host name makes the names of several machines different.
  const url = new URL(encodeURIComponent(`${hostname()}-${name}`), destination)
  try {
    const { size } = await uploadFile(path, url, {
      job: join(jobs, `${name}.json`),
      signal: endOfRun,
      noProgressTimeout: Number(process.env.GIVE_UP ?? 30 * 60 * 1000),
    })
    await rm(path)
    console.log(`${name}: shipped, ${size} bytes`)
  } catch (error) {
    // Continue with the other files. Cron mails this output to the administrator.
    console.error(`${name}: ${(error as Error).message}`)
    process.exitCode = 1
  }
}
