/** What belongs to a packet dies young: what V8 takes to be old costs it far more, and is there until it collects all. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'

/** Clients at once: more than one packet has to be under way when a table of V8's becomes full. */
const Clients = 8
/** Files of a round. */
const Files = 400

it('lets go of packets while they are young', { timeout: 60_000 }, async () => {
  const program = fileURLToPath(new URL('young-server.ts', import.meta.url))
  const child = fork(program, [await temporaryDirectory()], {
    execArgv: ['--expose-gc', '--no-warnings', '--import', 'tsx'],
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const [{ listening }] = await once(child, 'message')
  const ask = async (question: 'collect' | 'old'): Promise<number> => {
    child.send(question)
    const [{ old }] = await once(child, 'message')
    return old
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
  const growths: number[] = []
  for (let round = 0; round < 4; round += 1) {
    const before = await ask('collect')
    await upload(Files)
    growths.push(((await ask('old')) - before) / Files)
  }
  // In one round or another V8 keeps something of its own, or a collection comes at a bad moment.
  expect(Math.min(...growths)).toBeLessThan(4000)
})
