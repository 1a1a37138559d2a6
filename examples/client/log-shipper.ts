/**
 * Sends each `*.log` file of a folder, except those written within the last hour, and removes a file when the server holds
 * all of it. Run it every night with cron or the Task Scheduler: the next run resumes interrupted uploads.
 *
 *     node log-shipper.ts /var/log/app https://files.example/upload/logs/
 *
 * Node before 22.18 does not run TypeScript: npx tsx log-shipper.ts …
 */
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { uploadFile } from 'express-bits-upload/client'

const [folder = '.', destination = 'http://localhost:8080/upload/'] = process.argv.slice(2)
/** Milliseconds. A log that was written within this time is skipped. */
const QuietTimeMs = 60 * 60 * 1000
/** Pauses the uploads after 6 hours. */
const endOfRun = AbortSignal.timeout(6 * 60 * 60 * 1000)

const jobs = join(folder, '.jobs')
await mkdir(jobs, { recursive: true })

for (const name of (await readdir(folder)).filter((each) => each.endsWith('.log'))) {
  const path = join(folder, name)
  if (Date.now() - (await stat(path)).mtimeMs < QuietTimeMs) continue
  // The host name keeps the files of several machines apart.
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
    // The other files are sent. Cron mails this output to the administrator.
    console.error(`${name}: ${(error as Error).message}`)
    process.exitCode = 1
  }
}
