/** Three nodes that share nothing but an object service, behind the example's nginx, while they are killed and restarted. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { bitsUpload } from '../../lib/index.ts'
import { folder, startWith } from '../examples/start.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx, startNginx } from '../support/nginx.ts'
import { allEngines, type Place } from '../support/places.ts'
import { freePort } from '../support/port.ts'
import type { Program } from '../support/program.ts'

/** A node that is killed and started again, at the same port. */
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

  /** Ends it, at whatever instruction it is or as a deployment does, and starts it anew. */
  async restart(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    await this.#program.end(signal)
    this.#program = this.#start()
    await this.listening()
  }

  end(): Promise<unknown> {
    return this.#program.end('SIGKILL')
  }

  #start(): Program {
    return startWith(this.#env, this.#directory, 'nodes')
  }
}

/** Every so many packets a node dies, and comes back: one after the other, as a deployment does it, or for no reason. */
class Deaths {
  readonly #nodes: readonly Node[]
  #steps = 0
  #dying: Promise<void> = Promise.resolve()
  #isDying = false
  count = 0

  constructor(nodes: readonly Node[]) {
    this.#nodes = nodes
  }

  step(): void {
    this.#steps += 1
    if (this.#steps % 25 !== 0 || this.#isDying) return
    const victim = this.#nodes[this.count % this.#nodes.length]
    this.#isDying = true
    this.#dying = Promise.resolve(victim?.restart(this.count % 2 ? 'SIGTERM' : 'SIGKILL')).finally(() => {
      this.#isDying = false
    })
    this.#dying.catch(() => {})
    this.count += 1
  }

  /** Resolves when all are back. */
  end(): Promise<void> {
    return this.#dying
  }
}

/** Sends a file as a client of ours does that is told to be impatient. */
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

/** The example's nginx before three nodes at any free ports. */
async function farm(place: Place) {
  const directory = await temporaryDirectory()
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const nodes = ports.map((port) => new Node(directory, port, place.env))
  await Promise.all(nodes.map((node) => node.listening()))
  const printed = await readFile(join(folder, 'nodes.conf'), 'utf8')
  const { url } = await startNginx((port) =>
    ports.reduce(
      (text, nodePort, i) => text.replace(`:808${i + 1};`, `:${nodePort};`),
      printed.replace(':8080;', `:${port};`),
    ),
  )
  return { nodes, url: new URL('upload/', url) }
}

const sha256 = (bytes: Uint8Array | undefined): string =>
  createHash('sha256')
    .update(bytes ?? 'nothing')
    .digest('hex')

const uploads = Number(process.env.FARM_UPLOADS ?? 200)
/** Most are small, as logs are; some are of several parts, and have to be joined. */
const lengthOf = (i: number): number => (i % 25 === 0 ? 9_000_000 + i * 10_000 : 20_000 + i * 997)

const isOurs = (key: string): boolean => key.includes('.bits-sessions/')

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('shared by three nodes', () => {
    describeNginx('behind nginx', () => {
      it(`publishes ${uploads} concurrent uploads while nodes are killed, and keeps no internal object after sweeps`, {
        timeout: 300_000,
      }, async () => {
        const place = await engine.open()
        const { nodes, url } = await farm(place)
        const files = Array.from({ length: uploads }, (_, i) => noise(lengthOf(i), i + 1))
        const deaths = new Deaths(nodes)
        const results = await Promise.allSettled(
          files.map((file, i) => upload(file, new URL(`logs/${i}.txt`, url), () => deaths.step())),
        )
        await deaths.end()
        expect(results.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))).toEqual([])
        expect(deaths.count).toBeGreaterThanOrEqual(uploads / 50)
        for (const [i, file] of files.entries()) {
          expect([i, sha256((await place.see(`logs/${i}.txt`))?.bytes)]).toEqual([i, sha256(file)])
        }
        await Promise.all(nodes.map((node) => node.end()))
        // All sessions that are left are those whose Create-Session was not answered: nobody knows them. And the dead are
        // known to be dead when their heartbeats stood still for ten seconds between two sweeps.
        const sweeper = bitsUpload({ store: place.store(), expireAfter: 1, sweepEvery: 0 })
        onTestFinished(() => sweeper.close())
        await expect
          .poll(
            async () => {
              await sweeper.sweep()
              return [...(await place.keys()).filter(isOurs), ...(await place.unfinished())]
            },
            { timeout: 60_000, interval: 1000 },
          )
          .toEqual([])
      })
    })
  })
})
