import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Daemons } from './daemons.ts'
import type { Service } from './service.ts'

const require = createRequire(import.meta.url)
const program = require.resolve('azurite/dist/src/blob/main.js')

/** Ends a process of Node with its parent. */
const together = 'data:text/javascript,process.on("disconnect", () => process.exit())'

/** Starts Microsoft's emulator of Azure Blob Storage, in memory, on a free port of the loopback. */
export async function startAzurite(): Promise<Service> {
  const daemons = new Daemons()
  const key = randomBytes(32).toString('base64')
  const options = [
    ...['--inMemoryPersistence', '--extentMemoryLimit', '4096'],
    ...['--blobPort', '0', '--skipApiVersionCheck', '--disableTelemetry', '--silent'],
  ]
  const child = fork(program, options, {
    cwd: daemons.directory,
    env: { ...process.env, AZURITE_ACCOUNTS: `tests:${key}` },
    execArgv: ['--import', together],
    silent: true,
  })
  try {
    const [, url] = await daemons.add(child, /successfully listens on (http:\S+)/)
    const access = `DefaultEndpointsProtocol=http;AccountName=tests;AccountKey=${key};BlobEndpoint=${url}/tests;`
    return { access, end: () => daemons.end() }
  } catch (error) {
    await daemons.end()
    throw error
  }
}
