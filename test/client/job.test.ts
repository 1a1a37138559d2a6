import { access, copyFile, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { cancelRemoteSession } from '../../lib/client/cancel.ts'
import { cancelUpload, type UploadOptions, uploadFile } from '../../lib/client/index.ts'
import { Job } from '../../lib/client/job.ts'
import { lockJobFile } from '../../lib/client/job-lock.ts'
import { readCancelOptions, readUploadOptions } from '../../lib/client/options.ts'
import { openSource } from '../../lib/client/source.ts'
import { Upload } from '../../lib/client/upload.ts'
import { noise } from '../support/bytes.ts'
import { sessionFileNames } from '../support/directory.ts'
import { uploadServer } from '../support/server.ts'
import { ack, type Behaviour, failed, fakeServer, rawResponse } from './fake-server.ts'
import { fastClock, fileAndJob, pauseAt } from './setting.ts'

const KiB = 1024
const file = noise(20 * KiB)
const options: UploadOptions = { maxFragmentSize: 5 * KiB, retryDelay: 1, maxRetryDelay: 1 }
const isGone = (path: string) => expect(access(path)).rejects.toThrow('ENOENT')

/** A server, and an upload of `a.bin` to it that was paused at byte 10240. */
async function scene(behaviour: Partial<Behaviour> = {}, more: UploadOptions = {}) {
  const server = await fakeServer({ file, ...behaviour })
  const { directory, path, job } = await fileAndJob(file)
  await pauseAt(10_240, server, path, { ...options, ...more, job })
  const sent = server.packets.length
  return {
    server,
    directory,
    path,
    job,
    read: async () => JSON.parse(await readFile(job, 'utf8')),
    /** Changes the content of the job file. */
    async edit(session: object) {
      const record = JSON.parse(await readFile(job, 'utf8'))
      await writeFile(job, JSON.stringify({ ...record, session: { ...record.session, ...session } }))
    },
    resume: (again: UploadOptions = {}, source: string | Uint8Array = path, name = 'a.bin') =>
      server.watch(uploadFile(source, new URL(name, server.url), { ...options, ...again, job })),
    saidSince: () => server.requests().slice(sent),
  }
}

const rest = ['Fragment 10240-15359', 'Fragment 15360-20479', 'Close-Session']

describe('job file', () => {
  it('contains the upload state without secrets, and is readable only by its owner', async () => {
    const headers = { 'X-Token': 'hush' }
    const auth = { user: 'me', password: 'hush' }
    const { server, read, path, job, directory } = await scene(
      { created: { 'BITS-Host-Id': 'localhost', 'BITS-Host-Id-Fallback-Timeout': '100' } },
      { headers, auth },
    )
    const { mtimeNs } = await stat(path, { bigint: true })
    expect(await read()).toEqual({
      version: 1,
      url: new URL('a.bin', server.url).href,
      source: { path, size: file.length, mtime: String(mtimeNs) },
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      session: {
        id: server.iis.sessionId,
        hostId: { host: 'localhost', fallbackTimeout: 100 },
        offset: 10_240,
        stage: 'fragment',
      },
    })
    expect(await readFile(job, 'utf8')).not.toMatch(/hush|X-Token/)
    if (process.platform !== 'win32') expect((await stat(job)).mode & 0o777).toBe(0o600)
    await vi.waitFor(async () => expect((await readdir(directory)).sort()).toEqual(['a.bin', 'a.job']))
  })

  it('resumes the upload, and is removed at its end', async () => {
    const { resume, saidSince, job, directory } = await scene()
    const { fragments } = await resume()
    expect(fragments).toBe(2)
    expect(saidSince()).toEqual(['Ping', ...rest])
    await isGone(job)
    await vi.waitFor(async () => expect(await readdir(directory)).toEqual(['a.bin']))
  })

  it('remains after an error, and the upload can be resumed', async () => {
    const { resume, saidSince, server } = await scene({
      answer: ({ index }) => (index === 5 ? ack(403) : undefined),
    })
    await expect(resume()).rejects.toMatchObject({ code: 'access-denied' })
    await resume()
    expect(saidSince()).toEqual(['Ping', rest[0], 'Ping', ...rest])
    expect(server.iis.sessions).toBe(1)
  })

  it('leads to a new session when the server does not know the recorded one', async () => {
    const { resume, saidSince, server } = await scene()
    server.iis.sessionId = 'lost'
    await resume()
    expect(saidSince().slice(0, 3)).toEqual(['Ping', 'Fragment 10240-15359', 'Create-Session'])
    expect(server.iis.sessions).toBe(2)
  })

  it.each([
    ['smaller', 5120, ['Fragment 5120-10239', 'Fragment 10240-15359', 'Fragment 15360-20479']],
    ['larger', 15_000, ['Fragment 15000-20119', 'Fragment 10240-15359', 'Fragment 15360-20479']],
  ])('resumes at the offset of the server when the recorded one is %s', async (_, offset, fragments) => {
    const { resume, edit, saidSince } = await scene()
    await edit({ offset })
    await resume()
    expect(saidSince()).toEqual(['Ping', ...fragments, 'Close-Session'])
  })

  it('completes the upload on 0x8020001F when Close-Session was already sent', async () => {
    const { resume, edit, saidSince, server, job } = await scene()
    await edit({ offset: file.length, stage: 'close-session', closeSent: true })
    server.iis.sessionId = undefined
    await resume()
    expect(saidSince()).toEqual(['Ping', 'Close-Session'])
    await isGone(job)
  })

  it.each([
    ['502 from a gateway', rawResponse(502, {}, 'Bad Gateway')],
    ['200 with a body', ack(200).replace('h: 0', 'h: 2').concat('no')],
  ])('completes the upload when Close-Session gets %s, then 0x8020001F', async (_, answer) => {
    const { resume, saidSince } = await scene({
      answer({ type }, iis) {
        if (type !== 'Close-Session' || iis.sessionId === undefined) return undefined
        iis.sessionId = undefined
        return answer
      },
    })
    await resume()
    expect(saidSince().slice(-3)).toEqual(['Close-Session', 'Ping', 'Close-Session'])
  })

  it.each([
    ['404 (refused)', ack(404)],
    ['503 (not carried out)', ack(503)],
  ])('starts a new session on 0x8020001F when the last Close-Session got %s', async (_, answer) => {
    const { resume, saidSince, server } = await scene({
      answer: ({ type }, { sessions }) => (type === 'Close-Session' && sessions === 1 ? answer : undefined),
    })
    await expect(resume({ noProgressTimeout: 0 })).rejects.toMatchObject({ name: 'UploadError' })
    server.iis.sessionId = 'gone'
    server.iis.sessions = 2
    const before = saidSince().length
    await resume()
    expect(saidSince().slice(before, before + 3)).toEqual(['Ping', 'Close-Session', 'Create-Session'])
  })

  it('does not fetch the reply again when Close-Session was already sent', async () => {
    const { resume, edit, saidSince } = await scene()
    await edit({ offset: file.length, stage: 'reply', replyUrl: 'reply', closeSent: true })
    await resume()
    expect(saidSince()).toEqual(['Ping', 'Close-Session'])
  })

  it('is saved at most once a second while fragments are sent', async () => {
    const { path, job } = await fileAndJob(file)
    const held: unknown[] = []
    const server = await fakeServer({
      file,
      async answer({ type }) {
        const text = await readFile(job, 'utf8').catch(() => undefined)
        if (type !== 'Create-Session') held.push(text && JSON.parse(text).session.offset)
        clock.time += 600
        return undefined
      },
    })
    const clock = fastClock()
    const source = await openSource(path)
    const { identity = {} } = source
    const opened = await Job.open(job)
    onTestFinished(() => Promise.all([opened.release(), source.close()]).then(() => {}))
    const settings = readUploadOptions(options)
    const upload = new Upload(source, new URL('a.bin', server.url), settings, clock, {
      binding: { job: opened, identity },
    })
    await server.watch(upload.run())
    expect(held).toEqual([undefined, 5120, 5120, 15_360, 20_480])
  })

  it('restores the start time of the Host-Id fallback timer', async () => {
    const created = { 'BITS-Host-Id': 'localhost', 'BITS-Host-Id-Fallback-Timeout': '3600' }
    const { resume, edit, server } = await scene({ created })
    await edit({ failingSince: Date.now() - 3_500_000 })
    const { length } = server.packets
    const first = resume({ noProgressTimeout: 0 })
    await first
    expect(server.packets[length]?.host).toBe('localhost')

    const later = await scene({ created })
    await later.edit({ failingSince: Date.now() - 3_600_000 })
    const before = later.server.packets.length
    await later.resume()
    for (const { host } of later.server.packets.slice(before)) expect(host).toBe('127.0.0.1')
  })

  it('causes job-failed if the first write fails, and no error if a later one fails', async () => {
    const server = await fakeServer({ file })
    const { path, directory } = await fileAndJob(file)
    const job = join(directory, 'jobs', 'a.job')
    const failure = { code: 'job-failed', cause: { code: 'ENOENT' } }
    const upload = ({ url }: { url: URL }) => uploadFile(path, new URL('a.bin', url), { ...options, job })
    await expect(server.watch(upload(server))).rejects.toMatchObject(failure)
    expect(server.requests()).toEqual([])

    await mkdir(join(directory, 'jobs'))
    const atFirst = await fakeServer({
      file,
      async answer() {
        await rm(join(directory, 'jobs'), { recursive: true, force: true })
        return undefined
      },
    })
    await expect(atFirst.watch(upload(atFirst))).rejects.toMatchObject(failure)
    expect(atFirst.requests()).toEqual(['Create-Session', 'Fragment 0-5119'])
    await mkdir(join(directory, 'jobs'))
    let fragments = 0
    const later = await fakeServer({
      file,
      async answer({ type }) {
        if (type !== 'Fragment') return undefined
        fragments += 1
        // The job file is created before the second attempt.
        if (fragments === 1) return 'cut'
        await rm(join(directory, 'jobs'), { recursive: true, force: true })
        return undefined
      },
    })
    await later.watch(upload(later))
  })

  it("requires a version in the caller's own source", async () => {
    const source = { size: 1, read: async function* () {} }
    const error = await uploadFile(source, 'http://127.0.0.1:9/', { job: 'a.job' }).catch((reason) => reason)
    expect(error).toBeInstanceOf(TypeError)
    expect(error.message).toMatch(/the source has a 'version'/)
  })

  it('resumes an in-memory source, and causes job-mismatch for other bytes', async () => {
    const server = await fakeServer({ file })
    const { job } = await fileAndJob(file)
    await pauseAt(10_240, server, file, { ...options, job })
    const upload = (bytes: Uint8Array) =>
      server.watch(uploadFile(bytes, new URL('a.bin', server.url), { ...options, job }))
    await expect(upload(noise(20 * KiB, 2))).rejects.toMatchObject({ code: 'job-mismatch' })
    expect((await upload(new Uint8Array(file))).fragments).toBe(2)
  })
})

describe('job file of a short upload', () => {
  it('does not exist, nor its lock, while a small file is sent without interruption', async () => {
    const { directory, path, job } = await fileAndJob(file)
    const names: string[][] = []
    const server = await fakeServer({
      file,
      async answer() {
        names.push(await readdir(directory))
        return undefined
      },
    })
    await server.watch(uploadFile(path, new URL('a.bin', server.url), { job }))
    expect(server.requests()).toEqual(['Create-Session', `Fragment 0-${file.length - 1}`, 'Close-Session'])
    expect(names).toEqual([['a.bin'], ['a.bin'], ['a.bin']])
    expect(await readdir(directory)).toEqual(['a.bin'])
  })

  it.each(['Fragment', 'Close-Session'])(
    'is created and locked after a second in which the server has not answered %s',
    async (waitAt) => {
      const { path, job } = await fileAndJob(file)
      let record = ''
      const server = await fakeServer({
        file,
        async answer({ type }) {
          if (type !== waitAt) return undefined
          record = await vi.waitFor(() => readFile(job, 'utf8'), 10_000)
          const other = uploadFile(path, new URL('a.bin', server.url), { job })
          await expect(other).rejects.toMatchObject({ code: 'job-in-use' })
          return undefined
        },
      })
      await server.watch(uploadFile(path, new URL('a.bin', server.url), { job }))
      expect(server.requests()).toEqual(['Create-Session', `Fragment 0-${file.length - 1}`, 'Close-Session'])
      const isClosing = waitAt === 'Close-Session'
      expect(JSON.parse(record).session).toMatchObject(
        isClosing ? { offset: file.length, closeSent: true } : { offset: 0, stage: 'fragment' },
      )
      await isGone(job)
    },
  )

  it.each([
    ['while the first packet is not answered', { answer: () => 'hang' as const }, ['Create-Session']],
    ['before the second fragment', {}, ['Create-Session', 'Fragment 0-5119']],
    [
      'before the second attempt',
      { answer: ({ type }: { type: string }) => (type === 'Create-Session' ? ('cut' as const) : undefined) },
      ['Create-Session'],
    ],
  ])('causes job-in-use %s if another process has the lock', async (_, behaviour, requests) => {
    const { path, job } = await fileAndJob(file)
    const server = await fakeServer({ file, ...behaviour })
    const lock = await lockJobFile(job, AbortSignal.timeout(5000))
    onTestFinished(() => lock.release())
    const upload = uploadFile(path, new URL('a.bin', server.url), { ...options, job })
    await expect(server.watch(upload)).rejects.toMatchObject({ code: 'job-in-use' })
    expect(server.requests()).toEqual(requests)
  })
})

describe('job file of another upload or format', () => {
  it('causes job-mismatch for another URL, path, source type or mtime, and stays unchanged', async () => {
    const { resume, path, directory, job, saidSince } = await scene()
    const before = await readFile(job, 'utf8')
    const refused = async (work: Promise<unknown>, message: RegExp) => {
      await expect(work).rejects.toMatchObject({
        code: 'job-mismatch',
        message: expect.stringMatching(message),
      })
    }
    await refused(resume({}, path, 'b.bin'), /Its URL is http.*a\.bin\.$/)
    const copy = join(directory, 'b.bin')
    await copyFile(path, copy)
    await refused(resume({}, copy), /Its source was .*a\.bin.*, and is .*b\.bin/)
    await refused(resume({}, file), /cancelUpload/)
    await utimes(path, 1, 1)
    await refused(resume(), /"mtime":"1000000000"/)
    expect(await readFile(job, 'utf8')).toBe(before)
    expect(saidSince()).toEqual([])
  })

  it.each([
    ['nothing', ''],
    ['text', 'hello'],
    ['a JSON array', '[]'],
    ['other JSON', '{ "name": "package" }'],
    ['a later version', '{ "version": 2 }'],
    ['an incomplete record', '{ "version": 1, "url": "http://127.0.0.1/", "source": {}, "created": "x" }'],
    [
      'an invalid session',
      '{ "version": 1, "url": "http://a/", "source": {}, "created": "x", "session": { "id": "x", "offset": -1, "stage": "fragment" } }',
    ],
  ])('causes job-invalid and stays unchanged if it contains %s', async (_, text) => {
    const { path, job } = await fileAndJob(file)
    await writeFile(job, text)
    const invalid = { code: 'job-invalid', message: expect.stringContaining(job) }
    await expect(uploadFile(path, 'http://127.0.0.1:9/', { job })).rejects.toMatchObject(invalid)
    await expect(cancelUpload(job)).rejects.toMatchObject(invalid)
    expect(await readFile(job, 'utf8')).toBe(text)
  })

  it('causes job-failed if it is a directory', async () => {
    const { path, directory } = await fileAndJob(file)
    await expect(uploadFile(path, 'http://127.0.0.1:9/', { job: directory })).rejects.toMatchObject({
      code: 'job-failed',
    })
  })
})

describe('job file lock', () => {
  it('rejects another upload or cancelUpload with job-in-use until it is released', async () => {
    const { job, path, resume } = await scene()
    const held = await Job.open(job)
    const inUse = { code: 'job-in-use', message: expect.stringContaining(job) }
    await Promise.all([
      expect(resume()).rejects.toMatchObject(inUse),
      expect(uploadFile(path, 'http://127.0.0.1:9/', { job })).rejects.toMatchObject(inUse),
      expect(cancelUpload(job)).rejects.toMatchObject(inUse),
    ])
    await held.release()
    await resume()
  })

  it('is acquired by a waiting upload after its release', async () => {
    const { job, resume } = await scene()
    const held = await Job.open(job)
    const work = resume()
    await held.release()
    await work
  })
})

describe('cancelUpload', () => {
  it('sends Cancel-Session to the Host-Id host with the headers, and removes the job file', async () => {
    const { server, job, saidSince } = await scene({ created: { 'BITS-Host-Id': 'localhost' } })
    const { sessionId } = server.iis
    await server.watch(cancelUpload(job, { headers: { 'X-Token': 'x' } }))
    expect(saidSince()).toEqual(['Cancel-Session'])
    const { host, target, fields } = server.packets.at(-1) ?? {}
    expect([host, target, fields?.['bits-session-id'], fields?.['x-token']]).toEqual([
      'localhost',
      '/upload/a.bin',
      sessionId,
      'x',
    ])
    await isGone(job)
  })

  it('leaves no session files on our own server', async () => {
    const { url, directory } = await uploadServer()
    const { path, job } = await fileAndJob(noise(2_000_000))
    const controller = new AbortController()
    const upload = uploadFile(path, new URL('a.bin', url), {
      job,
      signal: controller.signal,
      onProgress: ({ held }) => held > 0 && controller.abort(),
    })
    await expect(upload).rejects.toThrow('aborted')
    expect((await sessionFileNames(join(directory, '.bits-sessions'))).length).toBeGreaterThan(0)
    await cancelUpload(job)
    expect(await sessionFileNames(join(directory, '.bits-sessions'))).toEqual([])
  })

  it('sends Cancel-Session again after broken connections and 5xx', async () => {
    const answers = ['cut', rawResponse(503), ack(501), failed(500, '0x80070057'), 'reset', undefined]
    const { server, job, saidSince } = await scene({
      answer: ({ type }) => (type === 'Cancel-Session' ? answers.shift() : undefined),
    })
    await server.watch(cancelUpload(job, { retryDelay: 1 }))
    expect(saidSince()).toEqual(Array.from({ length: 6 }, () => 'Cancel-Session'))
    await isGone(job)
  })

  it('rejects with not-found after one 404, and keeps the job file', async () => {
    const { server, job, saidSince } = await scene({
      answer: ({ type }) => (type === 'Cancel-Session' ? ack(404) : undefined),
    })
    await expect(server.watch(cancelUpload(job))).rejects.toMatchObject({ code: 'not-found', status: 404 })
    expect(saidSince()).toEqual(['Cancel-Session'])
    await access(job)
  })

  it('rejects with no-progress after noProgressTimeout, and keeps the job file', async () => {
    const { server, job } = await scene({
      answer: ({ type }) => (type === 'Cancel-Session' ? rawResponse(503) : undefined),
    })
    const work = cancelUpload(job, { noProgressTimeout: 0 })
    await expect(server.watch(work)).rejects.toMatchObject({ code: 'no-progress', status: 503 })
    await access(job)
  })

  it('sends the packet again with credentials after a 401', async () => {
    const challenge = { 'WWW-Authenticate': 'Basic realm="x"' }
    const { server, job, saidSince } = await scene({
      answer: ({ type, fields }) =>
        type === 'Cancel-Session' && !fields.authorization ? rawResponse(401, challenge) : undefined,
    })
    await server.watch(cancelUpload(job, { auth: { user: 'me', password: 'x' } }))
    expect(saidSince()).toEqual(['Cancel-Session', 'Cancel-Session'])
  })

  it('rejects with the abort reason during a request, and keeps the job file', async () => {
    const controller = new AbortController()
    const { server, job } = await scene({
      answer({ type }) {
        if (type !== 'Cancel-Session') return undefined
        controller.abort('enough')
        return 'hang'
      },
    })
    await expect(server.watch(cancelUpload(job, { signal: controller.signal }))).rejects.toBe('enough')
    await access(job)
  })

  it('rejects with the abort reason while it waits for the next try', async () => {
    const controller = new AbortController()
    const { server, job } = await scene({
      answer: ({ type }) =>
        type === 'Cancel-Session' ? rawResponse(503, { Connection: 'close' }) : undefined,
    })
    const work = cancelUpload(job, { signal: controller.signal, retryDelay: 1e6 })
    const outcome = expect(server.watch(work)).rejects.toBe('enough')
    await vi.waitFor(() => expect(server.requests().at(-1)).toBe('Cancel-Session'))
    setImmediate(() => setImmediate(() => controller.abort('enough')))
    await outcome
  })

  it('returns to the origin host after the Host-Id fallback timeout', async () => {
    const server = await fakeServer({ file, answer: ({ host }) => (host === 'localhost' ? 'cut' : ack(200)) })
    const clock = fastClock()
    const began = clock.time
    const session = {
      id: 'x',
      hostId: { host: 'localhost', fallbackTimeout: 100 },
      offset: 0,
      stage: 'fragment',
    } as const
    const settings = readCancelOptions({ retryDelay: 10_000, maxRetryDelay: 10_000 })
    await server.watch(cancelRemoteSession(new URL('a.bin', server.url), { ...session }, settings, clock))
    expect(clock.time - began).toBe(100_000)
    const hosts = server.packets.map(({ host }) => host)
    expect(hosts).toEqual([...Array.from({ length: 10 }, () => 'localhost'), '127.0.0.1'])
  })

  it('rejects with job-invalid without a job file', async () => {
    const { job } = await fileAndJob(file)
    await expect(cancelUpload(job)).rejects.toMatchObject({ code: 'job-invalid' })
  })
})
