/**
 * Three nodes that share only an object service, behind the nginx of the example, while they are killed and
 * restarted.
 */
import { createHash } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { bitsUpload } from '../../lib/index.ts'
import { startWith } from '../examples/start.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx } from '../support/nginx.ts'
import { allEngines, type Place } from '../support/places.ts'
import { freePort } from '../support/port.ts'
import type { Program } from '../support/program.ts'
import { startExampleNginx } from './node.ts'

/** A node that is ended and started again on the same port. */
class Node {
  readonly port: number
  readonly #directory: string
  readonly #env: NodeJS.ProcessEnv
  #program: Program

  constructor(directory: string, port: number, env: NodeJS.ProcessEnv) {
    this.#directory = directory
    this.port = port
    this.#env = { ...env, PORT: String(port) }
    this.#program = this.#start()
  }

  listening(): Promise<unknown> {
    return this.#program.url()
  }

  /** Ends the process by a kill, or by SIGTERM as a deployment does, and starts it again. */
  async restart(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#program.end(signal)
    this.#program = this.#start()
    await this.listening()
  }

  end(): Promise<unknown> {
    return this.#program.end('SIGKILL')
  }

  #start(): Program {
    return startWith(this.#env, this.#directory, 'many-nodes/node')
  }
}

/** After how many packets a node is restarted. */
const PacketsPerRestart = 25

/** Restarts one node after another while packets are sent, in turn by SIGKILL and by SIGTERM. */
class Restarts {
  readonly #nodes: readonly Node[]
  #packets = 0
  #restart: Promise<void> = Promise.resolve()
  #isRestarting = false
  count = 0

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes
  }

  onPacket(): void {
    this.#packets += 1
    if (this.#packets % PacketsPerRestart !== 0 || this.#isRestarting) return
    const node = this.#nodes[this.count % this.#nodes.length]
    this.#isRestarting = true
    this.#restart = Promise.resolve(node?.restart(this.count % 2 ? 'SIGTERM' : 'SIGKILL')).finally(() => {
      this.#isRestarting = false
    })
    this.#restart.catch(() => {})
    this.count += 1
  }

  /** Resolves when all nodes are running. */
  end(): Promise<void> {
    return this.#restart
  }
}

/** Uploads a file by `uploadFile` with short retry delays. */
async function upload(file: Buffer, url: URL, onProgress: () => void): Promise<void> {
  const source = {
    size: file.length,
    async *read(start: number, end: number) {
      yield file.subarray(start, end)
    },
  }
  await uploadFile(source, url, {
    maxFragmentSize: Math.max(5120, Math.ceil(file.length / 6)),
    retryDelay: 50,
    maxRetryDelay: 1000,
    onProgress,
  })
}

/** Starts three nodes on free ports behind the nginx of the example. */
async function farm(place: Place) {
  const directory = await temporaryDirectory()
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const nodes = ports.map((port) => new Node(directory, port, place.env))
  await Promise.all(nodes.map((node) => node.listening()))
  const { url } = await startExampleNginx(() => ports.map((port) => `127.0.0.1:${port}`))
  return { nodes, url: new URL('upload/', url) }
}

const sha256 = (bytes: Uint8Array | undefined): string =>
  createHash('sha256')
    .update(bytes ?? 'nothing')
    .digest('hex')

const uploads = Number(process.env.FARM_UPLOADS ?? 200)
/** Most files are as small as logs. Some have several parts, which the service must join. */
const lengthOf = (i: number): number => (i % 25 === 0 ? 9_000_000 + i * 10_000 : 20_000 + i * 997)

const isInternal = (key: string): boolean => key.includes('.bits-sessions/')

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('shared by three nodes', () => {
    describeNginx('behind nginx', () => {
      it(`publishes ${uploads} concurrent uploads while nodes are killed, and keeps no internal object after sweeps`, {
        timeout: 900_000,
      }, async () => {
        const place = await engine.open()
        const { nodes, url } = await farm(place)
        const files = Array.from({ length: uploads }, (_, i) => noise(lengthOf(i), i + 1))
        const restarts = new Restarts(nodes)
        const results = await Promise.allSettled(
          files.map((file, i) => upload(file, new URL(`logs/${i}.txt`, url), () => restarts.onPacket())),
        )
        await restarts.end()
        expect(results.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))).toEqual([])
        expect(restarts.count).toBeGreaterThanOrEqual(uploads / 50)
        for (const [i, file] of files.entries()) {
          expect([i, sha256((await place.see(`logs/${i}.txt`))?.bytes)]).toEqual([i, sha256(file)])
        }
        await Promise.all(nodes.map((node) => node.end()))
        // The remaining sessions are those whose Create-Session was not answered, so that no client uses
        // them. A killed node is recognized when its heartbeat has not changed for ten seconds between two
        // sweeps.
        const sweeper = bitsUpload({ store: place.store(), expireAfter: 1, sweepEvery: 0 })
        onTestFinished(() => sweeper.close())
        await expect
          .poll(
            async () => {
              await sweeper.sweep()
              return [...(await place.keys()).filter(isInternal), ...(await place.unfinished())]
            },
            { timeout: 60_000, interval: 1000 },
          )
          .toEqual([])
      })
    })
  })
})
