/**
 * After many uploads with every possible outcome the server holds the same resources as after a few.
 *
 *     LEAK_UPLOADS=10000 npx vitest run --project system test/leaks        the long form
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { sessionFileNames, temporaryDirectory } from '../support/directory.ts'
import type { Command, Resources } from './server.ts'
import { outcomes } from './uploads.ts'

const Uploads = Number(process.env.LEAK_UPLOADS ?? 600)
/** Concurrent clients. */
const Clients = 8

/** The server process, and requests for its resources. */
class ServerProcess {
  readonly url: URL
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.url = new URL(`http://127.0.0.1:${port}/`)
  }

  static async start(directory: string): Promise<ServerProcess> {
    const program = fileURLToPath(new URL('server.ts', import.meta.url))
    const child = fork(program, [directory], {
      execArgv: ['--expose-gc', '--no-warnings', '--import', 'tsx'],
    })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    const exit = once(child, 'exit').then(() => Promise.reject(new Error('The server did not start')))
    const [{ listening }] = await Promise.race([once(child, 'message'), exit])
    return new ServerProcess(child, listening.port)
  }

  async #request(command: Command) {
    this.#child.send(command)
    const [answer] = await once(this.#child, 'message')
    return answer
  }

  async sweep(): Promise<{ readonly expired: number; readonly open: number }> {
    return (await this.#request('sweep')).swept
  }

  async resources(): Promise<Resources> {
    return (await this.#request('resources')).resources
  }

  /**
   * How many handles are open, and how many kinds of listeners remain. Higher while connections or packets
   * are open.
   */
  async busy(): Promise<number> {
    return (await this.#request('busy')).busy
  }

  /**
   * Resolves to the resources when the server is idle, which may be a moment after the clients have ended; at
   * most 2 s.
   */
  async resourcesAtRest(idle: number): Promise<Resources> {
    for (let i = 0; i < 100; i += 1) {
      const { open } = await this.sweep()
      if (open === 0 && (await this.busy()) <= idle) break
      await delay(20)
    }
    return this.resources()
  }
}

/** Uploads this many files, in turn with each outcome that an upload can have. */
async function upload(url: URL, from: number, count: number): Promise<void> {
  let next = from
  const client = async (): Promise<void> => {
    while (next < from + count) {
      const i = next
      next += 1
      await outcomes[i % outcomes.length]?.(new URL(`file-${i}`, url))
    }
  }
  await Promise.all(Array.from({ length: Clients }, client))
}

it(`Upload server: leaks no resources after ${Uploads} uploads`, {
  timeout: 60_000 + Uploads * 60,
}, async () => {
  const directory = await temporaryDirectory()
  const server = await ServerProcess.start(directory)
  const idle = await server.busy()
  const quarter = Math.ceil(Uploads / 4)
  const quarters: Resources[] = []
  for (let i = 0; i < 4; i += 1) {
    await upload(server.url, i * quarter, quarter)
    quarters.push(await server.resourcesAtRest(idle))
  }
  const [, before, , after] = quarters as [Resources, Resources, Resources, Resources]

  expect(await sessionFileNames(join(directory, '.bits-sessions'))).toEqual([])
  // No session is counted, and no lock prevents a sweep.
  expect(await server.sweep()).toEqual({ expired: 0, open: 0 })
  expect(after.remaining).toEqual({})
  expect(after.listeners).toEqual(before.listeners)
  expect(after.subscribers).toEqual({ 'net.server.socket': 1 })
  expect(after.handles).toEqual(before.handles)
  expect(after.descriptors).toBe(before.descriptors)
  // Node keeps a few objects of its own, and their number varies. A leak is one object for each upload of
  // half the run.
  for (const [kind, count] of Object.entries(after.objects)) {
    expect([kind, count - (before.objects[kind] ?? 0)]).toEqual([
      kind,
      expect.toSatisfy((more: number) => more < 20),
    ])
  }
  expect(after.heap - before.heap).toBeLessThan(2_000_000)
})
