/**
 * Ships logs: sends each file of a folder that nobody wrote to for an hour, and removes it when the server holds it. To be
 * run every night, by cron or the Task Scheduler; what does not get through is gone on with in the next night, where the
 * server has it.
 *
 *     node log-shipper.mjs /var/log/app https://files.example/upload/logs/
 */
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { uploadFile } from 'express-bits-upload/client'

const [folder = '.', destination = 'http://localhost:8080/upload/'] = process.argv.slice(2)
const Quiet = 60 * 60 * 1000
/** A night is long, but not endless: then the job files remember what is left. */
const NightsEnd = AbortSignal.timeout(6 * 60 * 60 * 1000)

const jobs = join(folder, '.jobs')
await mkdir(jobs, { recursive: true })

for (const name of (await readdir(folder)).filter((each) => each.endsWith('.log'))) {
  const path = join(folder, name)
  if (Date.now() - (await stat(path)).mtimeMs < Quiet) continue
  // The machine's name tells apart what comes from many.
  const url = new URL(encodeURIComponent(`${hostname()}-${name}`), destination)
  try {
    const { size } = await uploadFile(path, url, {
      job: join(jobs, `${name}.json`),
      signal: NightsEnd,
      noProgressTimeout: Number(process.env.GIVE_UP ?? 30 * 60 * 1000),
    })
    await rm(path)
    console.log(`${name}: shipped, ${size} bytes`)
  } catch (error) {
    // The others may get through. Cron sends what is printed here to whoever should look.
    console.error(`${name}: ${(error as Error).message}`)
    process.exitCode = 1
  }
}
