import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { Daemons, type Service } from './daemons.ts'

const require = createRequire(import.meta.url)
const program = require.resolve('azurite/dist/src/blob/main.js')

/**
 * A module that runs in the process of Azurite before Azurite. It ends the process with its parent. It also
 * turns off Azurite's garbage collection, which starts every ten minutes and blocks all requests: for a
 * minute with the blobs of all tests.
 */
const preload = `
  process.on('disconnect', () => process.exit())
  const { setTimeout } = globalThis
  globalThis.setTimeout = (work, delay, ...args) => setTimeout(work, delay === 600_000 ? 2 ** 31 - 1 : delay, ...args)
`

/** Starts Microsoft's emulator of Azure Blob Storage, in memory, on a free port of the loopback interface. */
export async function startAzurite(): Promise<Service> {
  const daemons = new Daemons()
  const key = randomBytes(32).toString('base64')
  const options = [
    ...['--inMemoryPersistence', '--extentMemoryLimit', '8192'],
    ...['--blobPort', '0', '--skipApiVersionCheck', '--disableTelemetry', '--silent'],
  ]
  const child = fork(program, options, {
    cwd: daemons.directory,
    env: { ...process.env, AZURITE_ACCOUNTS: `tests:${key}` },
    execArgv: ['--import', `data:text/javascript,${encodeURIComponent(preload)}`],
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
