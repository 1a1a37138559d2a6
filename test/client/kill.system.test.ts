/** Kills the process of an upload, as a crash would; another process resumes the upload from its job file. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished, vi } from 'vitest'
import { noise } from '../support/bytes.ts'
import { sessionFileNames, temporaryDirectory } from '../support/directory.ts'
import { uploadServer } from '../support/server.ts'
import { all } from '../wire/setting.ts'

const program = fileURLToPath(new URL('client-process.mjs', import.meta.url))

/** Starts an upload. */
function start(...args: string[]): ChildProcess {
  const child = fork(program, args)
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

const file = noise(2_000_000)

async function scene() {
  let gate: Promise<unknown> = Promise.resolve()
  const server = await uploadServer({ authorize: () => gate.then(() => true) })
  const directory = await temporaryDirectory()
  const path = join(directory, 'a.bin')
  await writeFile(path, file)
  const job = join(directory, 'a.job')
  const args = [path, new URL('a.bin', server.url).href, job] as const
  return {
    ...server,
    args,
    job,
    landed: () => readFile(join(server.directory, 'a.bin')),
    /** Answers the second fragment when the client has created its job file: an upload of more than a second. */
    holdUntilJob(): void {
      server.upload.events.once('received', () => {
        gate = vi.waitFor(() => access(job), 10_000)
      })
    },
  }
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

it('uploadFile with a job file: completes in one session after its process is killed ten times', async () => {
  const { upload, args, job, landed, holdUntilJob } = await scene()
  const created = all(upload, 'created')
  holdUntilJob()
  for (let kills = 0; kills < 10; kills += 1) {
    const child = start(...args)
    let fragments = 2 + kills
    const enough = new Promise<void>((resolve) => {
      const count = (): void => {
        fragments -= 1
        if (fragments > 0) return
        upload.events.off('received', count)
        resolve()
      }
      upload.events.on('received', count)
    })
    await enough
    await kill(child)
    await access(job)
  }
  const [result] = await once(start(...args), 'message')
  expect(created.map(({ id }) => id)).toEqual([result.sessionId])
  expect((await landed()).equals(file)).toBe(true)
  await expect(access(job)).rejects.toThrow('ENOENT')
})

it.each(['uploaded', 'closed'] as const)(
  'uploadFile with a job file: completes after its process is killed at the event %s',
  async (event) => {
    const { upload, args, job, landed, directory, holdUntilJob } = await scene()
    const created = all(upload, 'created')
    holdUntilJob()
    const happened = once(upload.events as never, event)
    const child = start(...args, '2mb')
    await happened
    await kill(child)
    // The process may have ended before it was killed.
    if (await exists(job)) await once(start(...args), 'message')
    expect(created).toHaveLength(1)
    expect((await landed()).equals(file)).toBe(true)
    await expect(access(job)).rejects.toThrow('ENOENT')
    expect(await sessionFileNames(join(directory, '.bits-sessions'))).toEqual([])
  },
)

// Of a session without a job file the next process knows nothing, as after a crash at the end of an upload.
it.each([
  ['created', 0],
  ['received', 0],
  ['uploaded', 1],
  ['closed', 1],
] as const)(
  'uploadFile with a job file: the file arrives once if its process is killed in its first second, at the event %s',
  async (event, code) => {
    const { upload, args, job, landed } = await scene()
    const uploaded = all(upload, 'uploaded')
    const happened = once(upload.events as never, event)
    const child = start(...args)
    await happened
    await kill(child)
    const hasJob = await exists(job)
    const again = fork(program, args, { stdio: 'pipe' })
    let output = ''
    again.stderr?.setEncoding('utf8').on('data', (text) => {
      output += text
    })
    const [exitCode] = await once(again, 'close')
    // A slow machine may create the job file before the event.
    if (!hasJob) expect(exitCode).toBe(code)
    if (exitCode === 1) expect(output).toContain("code: 'access-denied'")
    expect(uploaded).toHaveLength(1)
    expect((await landed()).equals(file)).toBe(true)
    expect(await exists(job)).toBe(false)
  },
)

it('uploadFile with a job file: rejects with job-in-use in a second process', async () => {
  const { upload, args } = await scene()
  let fragments = 0
  // Before the second fragment is sent, the job file is locked.
  const received = new Promise<void>((resolve) => {
    upload.events.on('received', () => {
      fragments += 1
      if (fragments === 2) resolve()
    })
  })
  const first = start(...args)
  await received
  first.kill('SIGSTOP')
  const second = fork(program, args, { stdio: 'pipe' })
  let output = ''
  second.stderr?.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  const [code] = await once(second, 'close')
  expect(code).toBe(1)
  expect(output).toContain("code: 'job-in-use'")
  const ended = once(first, 'message')
  first.kill('SIGCONT')
  await ended
})
