/**
 * Rolling updates: two servers in two containers share a directory. One after the other is replaced, while clients send
 * each packet to the other server in turn.
 */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { UploadDirectory, writeUntilStored } from '../crash/fixture.ts'
import { noise } from '../support/bytes.ts'
import {
  type Answer,
  answerTo,
  begin,
  type PacketOptions,
  received,
  send,
  TestClient,
} from '../support/client.ts'
import { Container, describeContainers, SocketAgent, signal } from '../support/container.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { Output } from '../support/output.ts'
import { withResolvers } from '../support/promise.ts'

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const bridge = fileURLToPath(new URL('../support/bridge.mjs', import.meta.url))
/** The same in each container. */
const Port = '8080'
const baseUrl = new URL('http://localhost/upload/')

const Uploads = 200
const Clients = 20
/** Longer than a server keeps a session in its cache without packets. */
const PauseMs = 2100
/** After how many uploads a server is replaced, and how. */
const replacements = [
  { after: 40, place: 0, inNewContainer: false },
  { after: 80, place: 1, inNewContainer: true },
  { after: 120, place: 0, inNewContainer: true },
  { after: 160, place: 1, inNewContainer: false },
] as const
/** Fragments in progress at a server when it gets SIGTERM. */
const InProgress = 3

/** `express-bits-upload serve` in a container, reached by a socket file. */
class Serve {
  readonly container: Container
  readonly socketPath: string
  /** From SIGTERM on. */
  isStopping = false
  readonly #process: ChildProcess
  readonly #output: Output

  private constructor(container: Container, socketPath: string) {
    this.container = container
    this.socketPath = socketPath
    const args = [cli, 'serve', container.directory, '--host', '127.0.0.1', '--port', Port]
    this.#process = container.spawn(process.execPath, args, ['ignore', 'pipe', 'pipe'])
    this.#output = new Output(this.#process)
  }

  static async in(container: Container, socketPath: string): Promise<Serve> {
    const serve = new Serve(container, socketPath)
    await serve.#output.says(/Ctrl\+C stops/)
    return serve
  }

  static async inNewContainer(directory: string): Promise<Serve> {
    const container = await Container.start(directory)
    const socketPath = join(await temporaryDirectory(), 'socket')
    const args = [bridge, socketPath, Port]
    const child = container.spawn(process.execPath, args, ['ignore', 'inherit', 'inherit', 'ipc'])
    await once(child, 'message')
    return Serve.in(container, socketPath)
  }

  agent(): SocketAgent {
    return new SocketAgent(this.socketPath)
  }

  /** Sends SIGTERM, and resolves when the server has noticed it. */
  async stop(): Promise<void> {
    this.isStopping = true
    signal(this.#process, 'SIGTERM')
    await this.#output.says(/^Stopping/m)
  }

  /** Resolves when the process has exited. */
  async ended(): Promise<void> {
    await this.#output.ended
    expect(this.#process.exitCode).toBe(0)
  }
}

/** How often a server that was being replaced refused a packet, before it had handled any of it. */
interface Refusals {
  /** The system refused the connection. */
  refused: number
  /** The connection was accepted before SIGTERM, the packet arrived after it: 503. */
  stopping: number
  /** The same, and the client was still sending when the server closed the connection. */
  broken: number
}

function refusalOf(answer: Answer | Error): keyof Refusals | undefined {
  if (answer instanceof Error) return 'broken'
  if (answer.status === 502) return 'refused'
  return answer.status === 503 ? 'stopping' : undefined
}

/** The servers as clients see them behind a load balancer, which sends no packet to a server that refuses connections. */
class Farm {
  readonly directory: UploadDirectory
  readonly refusals: Refusals = { refused: 0, stopping: 0, broken: 0 }
  readonly #servers: Serve[]

  private constructor(directory: UploadDirectory, servers: Serve[]) {
    this.directory = directory
    this.#servers = servers
  }

  static async start(): Promise<Farm> {
    const directory = await UploadDirectory.create()
    const servers = [await Serve.inNewContainer(directory.path), await Serve.inNewContainer(directory.path)]
    return new Farm(directory, servers)
  }

  server(turn: number): Serve {
    return this.#servers[turn % this.#servers.length] as Serve
  }

  /** @param stop stops the server that is replaced */
  async replace(place: number, inNewContainer: boolean, stop: (old: Serve) => Promise<void>): Promise<void> {
    const old = this.server(place)
    // A new container is started first. The old server stays in its place, and refuses connections, until it has ended.
    const next = inNewContainer ? await Serve.inNewContainer(this.directory.path) : undefined
    await stop(old)
    await old.ended()
    this.#servers[place] = next ?? (await Serve.in(old.container, old.socketPath))
  }
}

/** Sends each packet to the other server in turn, on a new connection. */
class HoppingClient extends TestClient {
  readonly #farm: Farm
  #turn: number

  /** @param turn selects the first server */
  constructor(farm: Farm, name: string, turn: number) {
    super(new URL(name, baseUrl))
    this.#farm = farm
    this.#turn = turn
  }

  override async send(type: string, options: PacketOptions = {}): Promise<Answer> {
    for (;;) {
      const server = this.#farm.server(this.#turn++)
      const agent = server.agent()
      const answer = await send(this.url, type, { ...options, agent }).catch((error: Error) => error)
      agent.destroy()
      const refusal = server.isStopping && refusalOf(answer)
      if (refusal) this.#farm.refusals[refusal] += 1
      else if (answer instanceof Error) throw answer
      else return answer
    }
  }

  async begin(): Promise<void> {
    expect((await this.create()).status).toBe(200)
  }

  /** Sends a file from an offset, and closes the session. */
  async complete(
    file: Buffer,
    from: number,
    fragments: number,
    pause: () => Promise<unknown>,
  ): Promise<void> {
    const size = Math.ceil((file.length - from) / fragments)
    for (let first = from; first < file.length; first += size) {
      const piece = file.subarray(first, first + size)
      const answer = await this.fragment(first, piece, file.length)
      expect([answer.status, received(answer)]).toEqual([200, first + piece.length])
      if (first + size < file.length) await pause()
    }
    expect((await this.close()).status).toBe(200)
  }
}

/** An upload of up to five fragments. A quarter of the uploads pause between all fragments. */
async function upload(farm: Farm, number: number): Promise<void> {
  const client = new HoppingClient(farm, `${number}.bin`, number)
  await client.begin()
  const pauses = number % 4 === 0
  const fragments = pauses ? 3 : 1 + (number % 5)
  await client.complete(fileOf(number), 0, fragments, async () => pauses && delay(PauseMs))
}

/** Stops a server while it receives fragments, which it completes. The other server gets the following packets. */
async function stopDuringFragments(farm: Farm, server: Serve, numbers: readonly number[]): Promise<void> {
  const begun = numbers.map(async (number) => {
    const file = fileOf(number)
    const [half, quarter] = [file.length >> 1, file.length >> 2]
    const client = new HoppingClient(farm, `${number}.bin`, number)
    await client.begin()
    const headers = client.range(0, half, file.length)
    const agent = server.agent()
    const outgoing = begin(client.url, 'Fragment', { headers, agent })
    const answer = answerTo(outgoing)
    answer.catch(() => {})
    await writeUntilStored(outgoing, file.subarray(0, quarter), farm.directory.part(client), quarter)
    return async () => {
      outgoing.end(file.subarray(quarter, half))
      const { status } = await answer
      expect([status, received(await answer)]).toEqual([200, half])
      agent.destroy()
      await client.complete(file, half, 2, async () => {})
    }
  })
  const ends = await Promise.all(begun)
  await server.stop()
  await Promise.all(ends.map((end) => end()))
}

const fileOf = (number: number): Buffer => noise(20_000 + 997 * number, number + 1)

describeContainers('Two servers in two containers with one directory', () => {
  it(`complete ${Uploads} uploads whose packets alternate while each server is replaced twice`, async () => {
    const farm = await Farm.start()
    const due = replacements.map(() => withResolvers<void>())
    let begun = 0
    let ended = 0
    const client = async (): Promise<void> => {
      while (begun < Uploads) {
        await upload(farm, begun++)
        ended += 1
        const index = replacements.findIndex(({ after }) => after === ended)
        due[index]?.resolve()
      }
    }
    const replace = async (): Promise<void> => {
      for (const [i, { place, inNewContainer }] of replacements.entries()) {
        await due[i]?.promise
        const numbers = Array.from({ length: InProgress }, (_, j) => Uploads + InProgress * i + j)
        await farm.replace(place, inNewContainer, (old) => stopDuringFragments(farm, old, numbers))
      }
    }
    await Promise.all([replace(), ...Array.from({ length: Clients }, client)])
    console.info(farm.refusals)
    expect(farm.refusals.refused).toBeGreaterThan(0)

    const { directory } = farm
    const count = Uploads + InProgress * replacements.length
    expect(await directory.publishedNames()).toHaveLength(count)
    for (let number = 0; number < count; number += 1) {
      expect((await directory.published(`${number}.bin`)).equals(fileOf(number)), `${number}.bin`).toBe(true)
    }
    expect(await directory.sessionFiles()).toEqual([])
    const locks = await readdir(join(directory.path, '.bits-sessions', 'locks'))
    expect(locks.filter((name) => !/\.(socket|machine)$/.test(name))).toEqual([])
  })
})
