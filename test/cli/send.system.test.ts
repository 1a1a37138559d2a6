import { chown, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { lockJobFile } from '../../lib/client/job-lock.ts'
import { type BitsUploadOptions, bitsUpload, fileStore } from '../../lib/index.ts'
import { noise } from '../support/bytes.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { withResolvers } from '../support/promise.ts'
import { serve } from '../support/server.ts'
import { command, start } from './cli.ts'

const file = noise(300_000)

/** A server, and a directory with files to send and with the job files. */
async function scene(options: Partial<BitsUploadOptions> = {}) {
  const [directory, here] = [await temporaryDirectory(), await temporaryDirectory()]
  const upload = bitsUpload({ store: fileStore(directory, { createFolders: true }), ...options })
  const url = new URL('upload/', await serve(express().use('/upload', upload)))
  onTestFinished(() => upload.close({ grace: 0 }))
  await mkdir(join(here, 'logs/x'), { recursive: true })
  await writeFile(join(here, 'logs/a.bin'), file)
  await writeFile(join(here, 'logs/x/b c.bin'), noise(1000, 2))
  await writeFile(join(here, 'logs/empty.txt'), '')
  return { directory, here, url, upload }
}

const namesIn = async (directory: string): Promise<string[]> => {
  const all = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = all.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return files
    .map((path) => path.slice(directory.length + 1))
    .filter((path) => !path.startsWith('.bits-sessions'))
    .sort()
}

describe('send command', () => {
  it('uploads a file under its own name, or under the name in the URL', async () => {
    const { directory, here, url } = await scene()
    const own = await command(here, 'send', 'logs/a.bin', url.href)
    expect(own).toMatchObject({ code: 0, stdout: '' })
    expect(own.stderr).toMatch(/^a\.bin: sent, 293KB in [\d.]+ s, \S+\/s\n1 file, 293KB, in [\d.]+ s\n$/)
    const other = await command(here, 'send', 'logs/a.bin', new URL('other.bin', url).href)
    expect(other.code).toBe(0)
    expect(await namesIn(directory)).toEqual(['a.bin', 'other.bin'])
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
  })

  it('uploads directories with their structure, and the files that match patterns', async () => {
    const { directory, here, url } = await scene()
    const sent = await command(here, 'send', 'logs', url.href)
    expect([sent.code, sent.stderr]).toEqual([0, expect.stringMatching(/^3 files, 293\.9KB, in/m)])
    expect(await namesIn(directory)).toEqual(['logs/a.bin', 'logs/empty.txt', 'logs/x/b c.bin'])
    expect((await readFile(join(directory, 'logs/a.bin'))).equals(file)).toBe(true)
    expect((await command(here, 'send', 'logs/*.bin', 'logs/**/b*', url.href)).code).toBe(0)
    expect((await namesIn(directory)).filter((name) => !name.startsWith('logs'))).toEqual([
      'a.bin',
      'b c.bin',
    ])
  })

  it('uploads at most --parallel files at once', async () => {
    let now = 0
    let most = 0
    const { here, url } = await scene({
      onUpload: async () => {
        now += 1
        most = Math.max(most, now)
        for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
        now -= 1
      },
    })
    const names = Array.from({ length: 8 }, (_, i) => `f${i}`)
    await Promise.all(names.map((name) => writeFile(join(here, name), name)))
    const { code, stderr } = await command(here, 'send', '--parallel', '2', ...names, url.href)
    expect(code).toBe(0)
    expect(stderr).toMatch(/^8 files, 16B, in/m)
    expect(most).toBeLessThanOrEqual(2)
  })

  /** A server that closes each connection when it gets another request after this number. */
  async function countingServer(maxRequests: number) {
    const [directory, here] = [await temporaryDirectory(), await temporaryDirectory()]
    const upload = bitsUpload({ store: directory })
    onTestFinished(() => upload.close({ grace: 0 }))
    const counts = new Map<unknown, number>()
    const created: string[] = []
    upload.events.on('created', ({ name }) => void created.push(name))
    const app = express().use(({ socket }, _response, next) => {
      const count = (counts.get(socket) ?? 0) + 1
      counts.set(socket, count)
      if (count > maxRequests) socket.destroy()
      else next()
    }, upload)
    const url = await serve(app)
    const names = Array.from({ length: 8 }, (_, i) => `f${i}`)
    await Promise.all(names.map((name) => writeFile(join(here, name), name)))
    return { directory, here, url, names, created, connections: () => counts.size }
  }

  it('uses --parallel connections for all files', async () => {
    const { here, url, names, connections } = await countingServer(Number.POSITIVE_INFINITY)
    expect((await command(here, 'send', '--parallel', '2', ...names, url.href)).code).toBe(0)
    expect(connections()).toBe(2)
  })

  it.each([3, 4, 5])(
    'sends all files once, without a message, if the server closes connections after %d requests',
    async (maxRequests) => {
      const { directory, here, url, names, created } = await countingServer(maxRequests)
      const outcome = await command(here, 'send', '--give-up', '0', ...names, url.href)
      expect([outcome.code, outcome.stderr]).toEqual([0, expect.not.stringContaining('interrupted')])
      expect(created.sort()).toEqual(names)
      expect(await namesIn(directory)).toEqual(names)
    },
  )

  it('writes the reply to a file or to standard output with --reply', async () => {
    const { here, url } = await scene({
      onUpload: ({ name, size }) => `${name}: ${size} bytes`,
      overwrite: true,
    })
    const toFile = await command(here, 'send', 'logs/a.bin', '--reply', 'answer.txt', url.href)
    expect(toFile.code).toBe(0)
    expect(toFile.stderr).toContain('reply of 19B')
    expect(await readFile(join(here, 'answer.txt'), 'utf8')).toBe('a.bin: 300000 bytes')
    const printed = await command(here, 'send', 'logs/a.bin', '--reply', '-', url.href)
    expect(printed).toMatchObject({ code: 0, stdout: 'a.bin: 300000 bytes' })
  })

  it('names --cacert or --user if missing, and uploads with -k, -H and --user', async () => {
    const directory = await temporaryDirectory()
    const program = start(directory, 'serve', '--self-signed', '--user', 'alice:open sesame')
    const url = await program.url()
    await writeFile(join(directory, 'a.bin'), file)
    const send = (...args: string[]) =>
      command(directory, 'send', 'a.bin', ...args, '--give-up', '0', url.href)
    const untrusted = await send()
    expect([untrusted.code, untrusted.stderr]).toEqual([1, expect.stringContaining('--cacert')])
    const unauthorized = await send('--insecure')
    expect([unauthorized.code, unauthorized.stderr]).toEqual([
      1,
      expect.stringContaining('--user and --header'),
    ])
    expect((await send('-k', '-H', 'X-Note: hello', '--user', 'alice:open sesame')).code).toBe(0)
    expect((await readFile(join(directory, 'incoming/a.bin'))).equals(file)).toBe(true)
  })

  it('exits with code 1 after a permanent failure, and 3 if an upload is unfinished', async () => {
    const { here, url } = await scene()
    await command(here, 'send', 'logs/a.bin', url.href)
    const taken = await command(here, 'send', 'logs/a.bin', 'logs/empty.txt', url.href)
    expect(taken.code).toBe(1)
    expect(taken.stderr).toMatch(/^a\.bin: The server refuses: .*403, 0x80070005\.$/m)
    expect(taken.stderr).toMatch(/^empty\.txt: sent/m)
    expect(taken.stderr).toMatch(/^1 file, 0B, 1 failed, in/m)

    const { here: there } = await scene()
    const closedPort = 'http://127.0.0.1:1/'
    const unfinished = await command(there, 'send', 'logs/a.bin', '--give-up', '0', closedPort)
    expect(unfinished.code).toBe(3)
    expect(unfinished.stderr).toMatch(/^a\.bin: .*ECONNREFUSED/m)
    expect(unfinished.stderr).toMatch(/^0 files, 0B, 1 unfinished/m)
  })

  it('exits with code 3 if another process is sending the same file', async () => {
    const { here } = await scene()
    const seen = withResolvers<void>()
    const silent = await serve(() => seen.resolve())
    const program = start(here, 'send', 'logs/a.bin', silent.href)
    await seen.promise
    const other = await command(here, 'send', 'logs/a.bin', silent.href)
    expect([other.code, other.stderr]).toEqual([3, expect.stringMatching(/^a\.bin: Another upload is using/)])
    expect(await program.end('SIGINT')).toBe(3)
  })

  it('prints a usage error in the first line and exits with code 2', async () => {
    const { here, url } = await scene()
    await mkdir(join(here, 'other'))
    await writeFile(join(here, 'other/a.bin'), 'x')
    const cases: [args: string[], message: RegExp][] = [
      [[], /send takes one or more files, and a URL/],
      [[url.href], /send takes one or more files/],
      [['logs/a.bin', 'ftp://x/'], /the last argument must be a URL .*not 'ftp:\/\/x\/'/],
      [
        ['logs/a.bin', 'logs/empty.txt', new URL('x', url).href],
        /several files need the URL of a folder: .*\/x\//,
      ],
      [['nothing', url.href], /the file nothing does not exist/],
      [['*.none', url.href], /no file matches \*\.none/],
      [['logs/a.bin', 'other/a.bin', url.href], /would both be a\.bin/],
      [['logs', '--reply', 'x', url.href], /--reply can only be used with one file/],
      [['logs/a.bin', '--user', 'alice', url.href], /--user must be NAME:PASSWORD/],
      [['logs/a.bin', '--header', 'nothing', url.href], /--header must be 'NAME: VALUE'/],
      [['logs/a.bin', '--parallel', '0', url.href], /--parallel is a whole number from 1 to 100/],
      [['logs/a.bin', '--give-up', 'x', url.href], /--give-up is a whole number/],
      [['logs/a.bin', '--cert', 'x', url.href], /--cert and --key must be used together/],
      [
        ['logs/a.bin', url.href.replace('//', '//alice:secret@')],
        /the URL must not contain credentials; pass them with --user$/,
      ],
      [['logs/a.bin', `${url.href}#a`], /the URL has a '#': write it as %23/],
    ]
    await Promise.all(
      cases.map(async ([args, message]) => {
        const outcome = await command(here, 'send', ...args)
        expect(outcome, args.join(' ')).toMatchObject({ code: 2, stdout: '' })
        expect(outcome.stderr.split('\n')[0]).toMatch(message)
      }),
    )
  })
})

describe('send command with closed output', () => {
  it('uploads all files and exits with code 0', async () => {
    const { directory, here, url } = await scene()
    const program = start(here, 'send', 'logs', url.href)
    program.stopReading()
    expect(await program.ended()).toBe(0)
    expect(await namesIn(directory)).toHaveLength(3)
  })

  it('exits with code 1 if the reply cannot be printed, and can be resumed', async () => {
    const { here, url } = await scene({ onUpload: () => noise(500_000) })
    const program = start(here, 'send', 'logs/a.bin', '--reply', '-', url.href)
    program.stopReading()
    expect(await program.ended()).toBe(1)
    const again = await command(here, 'send', 'logs/a.bin', '--reply', 'reply.bin', url.href)
    expect(again.code).toBe(0)
    expect((await readFile(join(here, 'reply.bin'))).equals(noise(500_000))).toBe(true)
  })
})

describe('jobs of interrupted uploads', () => {
  /** An upload that SIGINT interrupted after its first fragments. */
  async function paused() {
    const stage = await scene({ maxFragmentSize: 10_000 })
    const seen = new Promise<void>((resolve) => {
      stage.upload.events.on('received', ({ received }) => {
        if (received > 50_000) resolve()
      })
    })
    const program = start(stage.here, 'send', 'logs/a.bin', '--max-fragment', '5120', stage.url.href)
    await seen
    expect(await program.end('SIGINT')).toBe(3)
    expect(program.output).toMatch(/^0 files, 0B, 1 unfinished, in/m)
    return stage
  }

  it('are listed by jobs, and resumed in the same session by jobs resume', async () => {
    const { here, directory, url, upload } = await paused()
    const listed = await command(here, 'jobs')
    expect(listed.stdout).toMatch(/^[0-9a-f]{12} +\d+% of 293KB {2}since 20/)
    expect(listed.stdout).toContain(join(here, 'logs/a.bin'))
    expect(listed.stdout).toContain(new URL('a.bin', url).href)
    const created: unknown[] = []
    upload.events.on('created', (report) => created.push(report))
    const resumed = await command(here, 'jobs', 'resume')
    expect([resumed.code, created.length]).toEqual([0, 0])
    expect(resumed.stderr).toMatch(/^a\.bin: sent, the last \S+KB of 293KB in/m)
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    expect((await command(here, 'jobs', 'list')).stdout).toBe('There are no unfinished uploads.\n')
  })

  it('are resumed by the same send command, or started again if the file changed', async () => {
    const same = await paused()
    const send = ({ here, url }: typeof same) => command(here, 'send', 'logs/a.bin', url.href)
    expect((await send(same)).code).toBe(0)
    expect((await readFile(join(same.directory, 'a.bin'))).equals(file)).toBe(true)

    const changed = await paused()
    const other = noise(200_000, 3)
    await writeFile(join(changed.here, 'logs/a.bin'), other)
    const restarted = await send(changed)
    expect([restarted.code, restarted.stderr]).toEqual([
      0,
      expect.stringContaining('the file changed since the upload was interrupted; starting again'),
    ])
    expect((await readFile(join(changed.directory, 'a.bin'))).equals(other)).toBe(true)
    expect((await changed.upload.sweep()).open).toBe(0)
  })

  it('are cancelled on the server, too, by jobs cancel', async () => {
    const { here, upload } = await paused()
    const [id = ''] = (await command(here, 'jobs')).stdout.split(' ')
    const cancelled = await command(here, 'jobs', 'cancel', id.slice(0, 4))
    expect(cancelled).toMatchObject({ code: 0, stdout: expect.stringMatching(/cancelled$/m) })
    expect((await upload.sweep()).open).toBe(0)
    expect((await command(here, 'jobs')).stdout).toBe('There are no unfinished uploads.\n')
  })

  it('are listed and resumed despite a damaged one, which can be cancelled', async () => {
    const { here, upload } = await paused()
    const damaged = join(here, 'jobs/0123456789ab.json')
    await writeFile(damaged, '{')
    const listed = await command(here, 'jobs')
    expect([listed.code, listed.stderr]).toEqual([0, ''])
    expect(listed.stdout).toMatch(/^0123456789ab {2}The job file is damaged; remove it .*\.json\.$/m)
    expect(listed.stdout).toMatch(/^[0-9a-f]{12} +\d+% of 293KB/m)
    const resumed = await command(here, 'jobs', 'resume')
    expect([resumed.code, resumed.stderr]).toEqual([1, expect.stringMatching(/^0123456789ab: .*damaged/)])
    expect(resumed.stderr).toMatch(/^a\.bin: sent/m)
    expect(await command(here, 'jobs', 'cancel', 'all')).toMatchObject({ code: 0, stderr: '' })
    expect(await namesIn(join(here, 'jobs'))).toEqual([])
    expect((await upload.sweep()).open).toBe(0)
  })

  it('are started again by send if damaged', async () => {
    const { here, url } = await paused()
    const [name = ''] = await namesIn(join(here, 'jobs'))
    await writeFile(join(here, 'jobs', name), '{')
    const restarted = await command(here, 'send', 'logs/a.bin', url.href)
    expect([restarted.code, restarted.stderr]).toEqual([
      0,
      expect.stringContaining('damaged; starting again'),
    ])
  })

  it('are kept, with exit code 3, if jobs cancel cannot reach the server', async () => {
    const { here } = await paused()
    const [name = ''] = await namesIn(join(here, 'jobs'))
    const job = join(here, 'jobs', name)
    const record = JSON.parse(await readFile(job, 'utf8'))
    await writeFile(job, JSON.stringify({ ...record, url: 'http://127.0.0.1:1/a.bin' }))
    const cancelled = await command(here, 'jobs', 'cancel', 'all')
    expect([cancelled.code, cancelled.stdout]).toEqual([3, ''])
    const id = name.replace('.json', '')
    expect(cancelled.stderr).toContain(`express-bits-upload jobs forget ${id}\n`)
    expect(cancelled.stderr).toMatch(/ECONNREFUSED.* The job file is kept: .*\.json$/m)
    expect(await namesIn(join(here, 'jobs'))).toEqual([name])

    const forgotten = await command(here, 'jobs', 'forget', id)
    expect(forgotten).toMatchObject({ code: 0, stderr: '' })
    expect(forgotten.stdout).toMatch(/a\.bin: forgotten; the session on the server ends when it expires$/m)
    expect(await namesIn(join(here, 'jobs'))).toEqual([])
  })

  it('are skipped by jobs resume, and not forgotten, while another process sends them', async () => {
    const { here, directory } = await paused()
    const [name = ''] = await namesIn(join(here, 'jobs'))
    const used = '0123456789ab.json'
    await copyFile(join(here, 'jobs', name), join(here, 'jobs', used))
    const lock = await lockJobFile(join(here, 'jobs', used), AbortSignal.timeout(5000))
    onTestFinished(() => lock.release())
    const resumed = await command(here, 'jobs', 'resume')
    expect([resumed.code, resumed.stderr]).toEqual([
      0,
      expect.stringMatching(/^1 job in use by another process$/m),
    ])
    expect(resumed.stderr).toMatch(/^a\.bin: sent/m)
    expect((await readFile(join(directory, 'a.bin'))).equals(file)).toBe(true)
    const kept = await command(here, 'jobs', 'forget', 'all')
    expect([kept.code, kept.stderr]).toEqual([1, expect.stringContaining('another process is sending it')])
    expect(await command(here, 'jobs', 'resume')).toMatchObject({
      code: 0,
      stdout: 'There are no unfinished uploads to resume.\n',
    })
  })

  it.runIf(process.getuid?.() === 0)(
    'are resumed by jobs resume only if they belong to this user',
    async () => {
      const { here } = await paused()
      const [name = ''] = await namesIn(join(here, 'jobs'))
      await chown(join(here, 'jobs', name), 1234, 1234)
      const resumed = await command(here, 'jobs', 'resume')
      expect(resumed).toMatchObject({ code: 0, stderr: '1 job of other users not resumed\n' })
      expect((await command(here, 'jobs', 'resume', name.slice(0, 4))).code).toBe(0)
    },
  )

  it('cause an error that names their directory if it is a file', async () => {
    const { here, url } = await scene()
    await writeFile(join(here, 'jobs'), '')
    for (const args of [['send', 'logs/a.bin', url.href], ['jobs']]) {
      const { code, stderr } = await command(here, ...args)
      expect([code, stderr]).toEqual([
        1,
        expect.stringMatching(/: cannot use the directory of the job files, \S+jobs: it.* is a file, not a/),
      ])
    }
  })

  it('cause an error message for wrong arguments or a missing source file', async () => {
    const { here, url } = await paused()
    const cases: [args: string[], code: number, message: RegExp][] = [
      [['remove'], 2, /jobs takes list, resume, cancel or forget, not 'remove'/],
      [['cancel'], 2, /cancel takes the IDs of jobs, or 'all'/],
      [['forget'], 2, /forget takes the IDs of jobs, or 'all'/],
      [['cancel', 'xyz'], 2, /no job ID begins with xyz/],
      [['resume', 'xyz'], 2, /no job ID begins with xyz/],
    ]
    for (const [args, code, message] of cases) {
      const outcome = await command(here, 'jobs', ...args)
      expect([outcome.code, outcome.stderr.split('\n')[0]]).toEqual([code, expect.stringMatching(message)])
    }
    await rm(join(here, 'logs/a.bin'))
    const gone = await command(here, 'jobs', 'resume')
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining('ENOENT')])
    expect(url.protocol).toBe('http:')
    expect((await command(here, 'jobs', 'cancel', 'all')).code).toBe(0)
  })
})
