/**
 * Three nodes that share only an object service, behind the nginx of the example, while they are killed and
 * restarted.
 */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { uploadFile } from '../../lib/client/index.ts'
import { startWith } from '../examples/start.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx } from '../support/nginx.ts'
import { allEngines, type Place } from '../support/places.ts'
import { freePort } from '../support/port.ts'
import type { Program } from '../support/program.ts'
import { withResolvers } from '../support/promise.ts'
import { startHookNode } from './hook-node.ts'
import { expectNothingLeft } from './leftovers.ts'
import { startExampleNginx } from './node.ts'

/** Starts the program of a node. */
type StartProgram = (env: NodeJS.ProcessEnv, directory: string) => Program

const startExample: StartProgram = (env, directory) => startWith(env, directory, 'many-nodes/node')

/** A node that is ended and started again on the same port. */
class Node {
  readonly port: number
  readonly #start: () => Program
  #program: Program

  constructor(port: number, start: (port: number) => Program) {
    this.port = port
    this.#start = () => start(port)
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
}

/** Each file is sent in so many fragments, or in a few more. */
const FragmentsPerFile = 6

/** Each node is restarted so many times, at most. */
const RestartsPerNode = 3

/** Packets between the beginnings of two restarts, at least. */
const packetsPerRestart = (uploads: number): number => Math.min(25, Math.floor(uploads / 2))

/**
 * Restarts one node after another while packets are sent, in turn by SIGKILL and by SIGTERM. The n-th fragments of all files
 * wait until n - 1 restarts have begun.
 */
class Restarts {
  readonly #nodes: readonly Node[]
  readonly #packetsPerRestart: number
  readonly #begun = Array.from({ length: FragmentsPerFile }, () => withResolvers<void>())
  #packets = 0
  #restart: Promise<void> = Promise.resolve()
  #isRestarting = false
  #isEnded = false
  count = 0

  constructor(nodes: readonly Node[], uploads: number) {
    this.#nodes = nodes
    this.#packetsPerRestart = packetsPerRestart(uploads)
  }

  onPacket(): void {
    this.#packets += 1
    this.#restartIfDue()
  }

  /** Resolves when so many restarts have begun. */
  async begun(count: number): Promise<void> {
    await this.#begun[count - 1]?.promise
  }

  /** Resolves when all nodes are running, and no more restarts begin. */
  async end(): Promise<void> {
    this.#isEnded = true
    await this.#restart
  }

  #restartIfDue(): void {
    const isLast = this.#isEnded || this.count === RestartsPerNode * this.#nodes.length
    if (isLast || this.#isRestarting || this.#packets < this.#packetsPerRestart) return
    const node = this.#nodes[this.count % this.#nodes.length]
    this.#packets = 0
    this.#isRestarting = true
    const restart = Promise.resolve(node?.restart(this.count % 2 ? 'SIGTERM' : 'SIGKILL'))
    this.#restart = restart
    this.#begun[this.count]?.resolve()
    this.count += 1
    // Packets may wait for the next one.
    restart.then(
      () => {
        this.#isRestarting = false
        this.#restartIfDue()
      },
      () => {},
    )
  }
}

/**
 * Uploads a file by `uploadFile` with short retry delays. Rejects if the server loses bytes that it has acknowledged.
 * @returns the id of the session
 */
async function upload(file: Buffer, url: URL, restarts: Restarts): Promise<string> {
  const size = Math.max(5120, Math.ceil(file.length / FragmentsPerFile))
  const source = {
    size: file.length,
    async *read(start: number, end: number) {
      await restarts.begun(Math.floor(start / size))
      yield file.subarray(start, end)
    },
  }
  let acknowledged = 0
  const { sessionId } = await uploadFile(source, url, {
    maxFragmentSize: size,
    retryDelay: 50,
    maxRetryDelay: 1000,
    onProgress({ held }) {
      if (held < acknowledged) throw new Error(`${url}: ${held} bytes are held of ${acknowledged}`)
      acknowledged = held
      restarts.onPacket()
    },
  })
  return sessionId
}

/** Starts three nodes on free ports behind the nginx of the example. */
async function farm(place: Place, start: StartProgram) {
  const directory = await temporaryDirectory()
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const startOn = (port: number): Program => start({ ...place.env, PORT: String(port) }, directory)
  const nodes = ports.map((port) => new Node(port, startOn))
  await Promise.all(nodes.map((node) => node.listening()))
  const { url } = await startExampleNginx(() => ports.map((port) => `127.0.0.1:${port}`))
  return { nodes, url: new URL('upload/', url) }
}

const sha256 = (bytes: Uint8Array | undefined): string =>
  createHash('sha256')
    .update(bytes ?? 'nothing')
    .digest('hex')

const uploadsWithoutHook = Number(process.env.FARM_UPLOADS ?? 200)
/** Most files are as small as logs. Some have several parts, which the service must join. */
const lengthOf = (i: number): number => (i % 25 === 0 ? 9_000_000 + i * 10_000 : 20_000 + i * 997)

describe.each(allEngines)('Object store on $name', (engine) => {
  engine.describe('shared by three nodes', () => {
    describeNginx('behind nginx', () => {
      it.each([
        ['the node of the example', uploadsWithoutHook, startExample],
        [
          'a hook that reads each file',
          uploadsWithoutHook / 4,
          (...args: Parameters<StartProgram>) => startHookNode('read', ...args),
        ],
      ])(
        'and %s publishes %d concurrent uploads while nodes are killed, and leaves nothing else',
        {
          timeout: 900_000,
        },
        async (_, uploads, start) => {
          const place = await engine.open()
          const service = place.service()
          const { nodes, url } = await farm(place, start)
          const files = Array.from({ length: uploads }, (_, i) => noise(lengthOf(i), i + 1))
          const restarts = new Restarts(nodes, uploads)
          const sessions = await Promise.all(
            files.map(async (file, i) => {
              const name = `logs/${i}.txt`
              const id = await upload(file, new URL(name, url), restarts)
              return { name, id, published: await service.head(name) }
            }),
          )
          await restarts.end()
          expect(restarts.count).toBeGreaterThanOrEqual(FragmentsPerFile - 1)
          for (const [i, { name, id, published }] of sessions.entries()) {
            expect([name, sha256((await place.see(name))?.bytes)]).toEqual([name, sha256(files[i] as Buffer)])
            // By the session of the client, and not again after its answer.
            expect(published?.metadata.session).toBe(id)
            expect(await service.head(name)).toEqual(published)
          }
          await Promise.all(nodes.map((node) => node.end()))
          await expectNothingLeft(place)
        },
      )
    })
  })
})
