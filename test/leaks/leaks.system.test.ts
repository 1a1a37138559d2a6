/**
 * After many uploads with every possible outcome the server holds the same resources as after a few.
 *
 *     LEAK_UPLOADS=10000 npx vitest run --project system test/leaks        the long run
 */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { temporaryDirectory } from '../support/directory.ts'
import type { Census, Question } from './census.ts'
import { ends } from './uploads.ts'

const Uploads = Number(process.env.LEAK_UPLOADS ?? 600)
/** Clients at once. */
const Clients = 8

class Probe {
  readonly url: URL
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.url = new URL(`http://127.0.0.1:${port}/`)
  }

  static async start(directory: string): Promise<Probe> {
    const program = fileURLToPath(new URL('server.ts', import.meta.url))
    const child = fork(program, [directory], {
      execArgv: ['--expose-gc', '--no-warnings', '--import', 'tsx'],
    })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    const died = once(child, 'exit').then(() => Promise.reject(new Error('The server did not start')))
    const [{ listening }] = await Promise.race([once(child, 'message'), died])
    return new Probe(child, listening.port)
  }

  async #ask(question: Question) {
    this.#child.send(question)
    const [answer] = await once(this.#child, 'message')
    return answer
  }

  async sweep(): Promise<{ readonly expired: number; readonly open: number }> {
    return (await this.#ask('sweep')).swept
  }

  async census(): Promise<Census> {
    return (await this.#ask('census')).census
  }

  /** What has not come to its end: connections, and packets of clients that have vanished. */
  async busy(): Promise<number> {
    return (await this.#ask('busy')).busy
  }

  /** Takes the census when all is over, which may be a moment after the clients have gone; but not for ever. */
  async calm(idle: number): Promise<Census> {
    for (let i = 0; i < 100; i += 1) {
      const { open } = await this.sweep()
      if (open === 0 && (await this.busy()) <= idle) break
      await delay(20)
    }
    return this.census()
  }
}

/** Uploads so many files, in turn with each end that an upload may come to. */
async function upload(url: URL, from: number, count: number): Promise<void> {
  let next = from
  const client = async (): Promise<void> => {
    while (next < from + count) {
      const i = next
      next += 1
      await ends[i % ends.length]?.(new URL(`file-${i}`, url))
    }
  }
  await Promise.all(Array.from({ length: Clients }, client))
}

it(`Upload server: leaks no resources after ${Uploads} uploads`, {
  timeout: 60_000 + Uploads * 60,
}, async () => {
  const directory = await temporaryDirectory()
  const probe = await Probe.start(directory)
  const idle = await probe.busy()
  const quarter = Math.ceil(Uploads / 4)
  const quarters: Census[] = []
  for (let i = 0; i < 4; i += 1) {
    await upload(probe.url, i * quarter, quarter)
    quarters.push(await probe.calm(idle))
  }
  const [, before, , after] = quarters as [Census, Census, Census, Census]

  expect(await readdir(join(directory, '.bits-sessions'))).toEqual([])
  // No lock is held, and no session counted.
  expect(await probe.sweep()).toEqual({ expired: 0, open: 0 })
  expect(after.leftovers).toEqual({})
  expect(after.listeners).toEqual(before.listeners)
  expect(after.subscribers).toEqual({ 'net.server.socket': 1 })
  expect(after.handles).toEqual(before.handles)
  expect(after.descriptors).toBe(before.descriptors)
  // Node keeps a few of its own, now more, now fewer; a leak is one for each upload of half the run.
  for (const [kind, count] of Object.entries(after.objects)) {
    expect([kind, count - (before.objects[kind] ?? 0)]).toEqual([
      kind,
      expect.toSatisfy((more: number) => more < 20),
    ])
  }
  expect(after.heap - before.heap).toBeLessThan(2_000_000)
})
