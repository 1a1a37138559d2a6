/** Kills the process of an upload, as a crash would; another process resumes the upload from its job file. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
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
  const server = await uploadServer()
  const directory = await temporaryDirectory()
  const path = join(directory, 'a.bin')
  await writeFile(path, file)
  const args = [path, new URL('a.bin', server.url).href, join(directory, 'a.job')] as const
  return { ...server, args, job: args[2], landed: () => readFile(join(server.directory, 'a.bin')) }
}

it('uploadFile with a job file: completes in one session after its process is killed ten times', async () => {
  const { upload, args, job, landed } = await scene()
  const created = all(upload, 'created')
  for (let kills = 0; kills < 10; kills += 1) {
    const child = start(...args)
    let fragments = 1 + kills
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
    const { upload, args, job, landed, directory } = await scene()
    const created = all(upload, 'created')
    const happened = once(upload.events as never, event)
    const child = start(...args, '2mb')
    await happened
    await kill(child)
    // The process may have ended before it was killed.
    const isLeft = await access(job).then(
      () => true,
      () => false,
    )
    if (isLeft) await once(start(...args), 'message')
    expect(created).toHaveLength(1)
    expect((await landed()).equals(file)).toBe(true)
    await expect(access(job)).rejects.toThrow('ENOENT')
    expect(await sessionFileNames(join(directory, '.bits-sessions'))).toEqual([])
  },
)

it('uploadFile with a job file: rejects with job-in-use in a second process', async () => {
  const { upload, args } = await scene()
  const received = once(upload.events as never, 'received')
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
