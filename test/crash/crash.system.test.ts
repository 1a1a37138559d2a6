/**
 * Kill campaigns. `CRASH_KILLS=2000 npx vitest run --project system test/crash` is the long form.
 * `CRASH_SEED` repeats files, fragments and times of kills, but not the scheduling of processes: a failure
 * may need a second run with the same seed.
 */
import { fork } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { noise } from '../support/bytes.ts'
import { type Answer, hresult, received, send, TestClient } from '../support/client.ts'
import { describeContainers } from '../support/container.ts'
import { withResolvers } from '../support/promise.ts'
import { sendAlone, sendFragmentAlone, UploadDirectory } from './fixture.ts'
import { runCampaign } from './run-campaign.ts'

const kills = Number(process.env.CRASH_KILLS ?? 200)
const seed = Number(process.env.CRASH_SEED ?? randomInt(2 ** 31))

// Bounds a campaign that hangs: a kill takes 0.7 s on an idle machine, and three times as long beside other work.
const timeout = 60_000 + kills * 3000

async function expectNoLoss(count: number, servers: number, inContainers = false): Promise<void> {
  const counts = await runCampaign(seed, count, servers, { inContainers })
  console.info(`CRASH_SEED=${seed}`, counts)
  expect(counts.kills).toBeGreaterThanOrEqual(count)
}

it.each([
  ['One server', kills, 1],
  ['Two servers on one directory', Math.ceil(kills / 2), 2],
])(
  `%s: no acknowledged byte is lost over %i kills (CRASH_SEED=${seed})`,
  (_, count, servers) => expectNoLoss(count, servers),
  timeout,
)

describeContainers('Two servers in two containers, each with its own mount point of one directory', () => {
  it(
    `lose no acknowledged byte over ${kills} kills (CRASH_SEED=${seed})`,
    () => expectNoLoss(kills, 2, true),
    timeout,
  )
})

it('node:cluster: completes uploads with a connection per packet while workers are killed', async () => {
  const directory = await UploadDirectory.create()
  const program = fileURLToPath(new URL('cluster-program.mjs', import.meta.url))
  const primary = fork(program, [directory.path])
  const pids: number[] = []
  const bothUp = withResolvers<void>()
  let port = 0
  primary.on('message', (message: { port: number; pid: number }) => {
    port = message.port
    if (pids.push(message.pid) === 2) bothUp.resolve()
  })
  onTestFinished(() => {
    primary.disconnect()
    for (const pid of pids) killIfRunning(pid)
  })
  await bothUp.promise
  let answers = 0
  let kills = 0
  const upload = async (number: number): Promise<void> => {
    const bytes = noise(50_000 + 40_000 * number, number + 10)
    const client = new TestClient(new URL(`http://127.0.0.1:${port}/${number}.bin`))
    const create = () =>
      send(client.url, 'Create-Session', {
        headers: { 'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}' },
      })
    client.sessionId = String((await retry(create)).headers['bits-session-id'])
    for (let at = 0; at < bytes.length; ) {
      const body = bytes.subarray(at, at + 2500)
      const answer = await retry(() => sendFragmentAlone(client, at, body, bytes.length))
      expect(answer.status).toBe(200)
      expect(received(answer)).toBe(at + body.length)
      at = received(answer)
      answers += 1
      // Not the last worker: without a worker the primary process closes the port.
      if (answers % 8 === 0 && pids.length > 1 && killIfRunning(pids.shift())) kills += 1
    }
    const closed = await retry(() => sendAlone(client, 'Close-Session'))
    expect([undefined, '0x8020001F']).toContain(hresult(closed))
    expect((await directory.published(`${number}.bin`)).equals(bytes)).toBe(true)
  }
  await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(upload))
  expect(kills).toBeGreaterThan(1)
  // A Create-Session whose Ack was lost leaves a session whose id no client has.
  expect((await directory.sessionFiles()).filter((name) => !name.endsWith('.json'))).toEqual([])
  expect(await directory.publishedNames()).toHaveLength(8)
})

/** Sends a packet again until it is answered, because its server may be killed before. */
async function retry(packet: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await packet().catch(() => undefined)
    if (answer) return answer
    await new Promise(setImmediate)
  }
}

function killIfRunning(pid: number | undefined): boolean {
  if (pid === undefined) return false
  try {
    return process.kill(pid, 'SIGKILL')
  } catch {
    return false
  }
}
