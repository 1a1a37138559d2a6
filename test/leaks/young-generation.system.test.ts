/**
 * The objects of a packet must be collected in the young generation. An object that V8 promotes to the old
 * generation costs far more, and stays until a full collection.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'

/**
 * Concurrent clients: several packets must be in progress when V8 replaces a full hash table of a Map or Set.
 */
const Clients = 8
/** Files of one round. */
const Files = 400

it('Upload server: has its requests collected in the young generation', { timeout: 120_000 }, async () => {
  const program = fileURLToPath(new URL('young-generation-server.ts', import.meta.url))
  const child = fork(program, [await temporaryDirectory()], {
    execArgv: ['--expose-gc', '--no-warnings', '--import', 'tsx'],
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const exit = once(child, 'exit').then(() => Promise.reject(new Error('The server exited')))
  const nextMessage = async () => (await Promise.race([once(child, 'message'), exit]))[0]
  const { listening } = await nextMessage()
  /**
   * Collects the young generation (`minor`) or the whole heap (`major`), and counts the requests that remain.
   */
  const collect = (
    kind: 'minor' | 'major',
  ): Promise<{ readonly held: number; readonly majorCollections: number }> => {
    child.send(kind)
    return nextMessage()
  }
  let next = 0
  const upload = async (count: number): Promise<void> => {
    const end = next + count
    const client = async (): Promise<void> => {
      while (next < end) {
        next += 1
        const one = new TestClient(new URL(`http://127.0.0.1:${listening.port}/file-${next}`))
        const acks = [await one.create(), await one.fragment(0, Buffer.alloc(100), 100), await one.close()]
        expect(acks.map(({ status }) => status)).toEqual([200, 200, 200])
        one.agent.destroy()
      }
    }
    await Promise.all(Array.from({ length: Clients }, client))
  }

  await upload(Files)
  const held: number[] = []
  for (let round = 0; round < 12 && held.length < 3; round += 1) {
    const before = await collect('major')
    await upload(Files)
    const after = await collect('minor')
    // A round in which V8 collected the whole heap shows nothing.
    if (after.majorCollections === before.majorCollections) held.push(after.held - before.held)
  }
  expect(held.length).toBe(3)
  // Of the 1,200 requests of a round 1 to 17 remained, and 130 to 780 when hash tables kept them.
  expect(held.sort((a, b) => a - b)[1]).toBeLessThan(Files / 4)
})
