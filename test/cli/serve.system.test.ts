import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { generate } from 'selfsigned'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TlsClient, uploadFile } from '../examples/upload.ts'
import { noise } from '../support/bytes.ts'
import { begin, hresult, TestClient } from '../support/client.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { serve } from '../support/server.ts'
import { command, start } from './cli.ts'

const file = noise(30_000)

describe('serve command', () => {
  it('receives a file, prints its events, and exits with code 0 on SIGTERM', async () => {
    const directory = await temporaryDirectory()
    const program = start(directory, 'serve', 'files')
    const target = join(directory, 'files', 'a.bin')
    expect((await program.says(/They are written to (.*)/))[1]).toBe(join(directory, 'files'))
    expect(program.output).toContain('Anyone who can reach this server can upload: see --user.')
    await uploadFile(new TestClient(new URL('a.bin', await program.url())), file)
    expect(await readFile(target)).toEqual(file)
    await program.says(/a\.bin: complete/)
    const lines = program.output.split('\n').filter((line) => line.startsWith('a.bin: '))
    expect(lines).toHaveLength(2)
    expect(lines[0]).toBe('a.bin: begins')
    expect(lines[1]).toMatch(/^a\.bin: complete, 29\.3KB in [\d.]+ s, [\d.]+[KMG]B\/s: /)
    expect(lines[1]?.endsWith(target)).toBe(true)
    // The client's connection is still open.
    expect(await program.end('SIGTERM')).toBe(0)
    expect(program.output).toMatch(/^1 file, 29\.3KB, in [\d.]+ s$/m)
  })

  it('continues to receive files when its output is closed', async () => {
    const directory = await temporaryDirectory()
    const program = start(directory, 'serve')
    const url = await program.url()
    program.stopReading()
    for (const name of ['a.bin', 'b.bin']) await uploadFile(new TestClient(new URL(name, url)), file)
    expect(await readFile(join(directory, 'incoming/b.bin'))).toEqual(file)
    expect(await program.end('SIGTERM')).toBe(0)
  })

  it('ends at once on a second signal, even of another kind', async () => {
    const program = start(await temporaryDirectory(), 'serve')
    const client = new TestClient(new URL('a.bin', await program.url()))
    await client.create()
    const fragment = begin(client.url, 'Fragment', {
      headers: {
        'BITS-Session-Id': client.sessionId,
        'Content-Range': `bytes 0-199/${file.length}`,
        'Content-Length': 200,
        Expect: '100-continue',
      },
    })
    fragment.flushHeaders()
    const broken = expect(once(fragment, 'response')).rejects.toThrow('hang up')
    await once(fragment, 'continue')
    program.signal('SIGINT')
    await program.says(/^Stopping/m)
    expect(await program.end('SIGTERM')).toBe(null)
    await broken
  })

  it('resumes an interrupted upload after a restart', async () => {
    const directory = await temporaryDirectory()
    const program = start(directory, 'serve')
    const client = new TestClient(new URL('a.bin', await program.url()))
    await client.create()
    await client.fragment(0, file.subarray(0, 10_000), file.length)
    expect(await program.end('SIGINT')).toBe(0)
    expect(program.output).toMatch(/^0 files, 0B, 1 unfinished, in/m)

    const again = start(directory, 'serve')
    const later = new TestClient(new URL('a.bin', await again.url()))
    later.sessionId = client.sessionId
    expect((await later.fragment(10_000, file.subarray(10_000), file.length)).status).toBe(200)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
  })

  it('prints refused and cancelled uploads', async () => {
    const program = start(await temporaryDirectory(), 'serve')
    const url = await program.url()
    expect((await new TestClient(new URL('nul', url)).create()).status).toBe(400)
    await program.says(/^\/upload\/nul: Create-Session refused, 400: .*nul is a device of Windows/m)

    const client = new TestClient(new URL('b.bin', url))
    await client.create()
    await client.fragment(0, file.subarray(0, 15_000), file.length)
    await client.cancel()
    await program.says(/^b\.bin: cancelled by the client$/m)
    expect(await program.end('SIGTERM')).toBe(0)
    expect(program.output).toMatch(/^0 files, 0B, 1 cancelled, 1 refused, in/m)
  })

  it('enforces --max-size and --max-sessions', async () => {
    const program = start(await temporaryDirectory(), 'serve', '--max-size', '10kb', '--max-sessions=1')
    const client = new TestClient(new URL('a.bin', await program.url()))
    await client.create()
    expect(hresult(await client.fragment(0, file.subarray(0, 100), file.length))).toBe('0x80200020')
    expect((await new TestClient(client.url).create()).status).toBe(503)
  })

  it('replaces files only with --overwrite', async () => {
    for (const [args, status] of [[[], 403] as const, [['--overwrite'], 200] as const]) {
      const directory = await temporaryDirectory()
      await writeFile(join(directory, 'a.bin'), 'old')
      const program = start(directory, 'serve', '.', ...args)
      expect((await new TestClient(new URL('a.bin', await program.url())).create()).status).toBe(status)
    }
  })

  it('creates folders only with --create-folders', async () => {
    for (const [args, status] of [[[], 404] as const, [['--create-folders'], 200] as const]) {
      const program = start(await temporaryDirectory(), 'serve', ...args)
      const client = new TestClient(new URL('x/y/a.bin', await program.url()))
      expect((await client.create()).status).toBe(status)
    }
  })

  it('requires Basic authentication with --user, and keeps sessions to their users', async () => {
    const users = ['--user', 'alice:open:sesame', '-u', 'bob:knock knock']
    const program = start(await temporaryDirectory(), 'serve', ...users)
    const url = new URL('a.bin', await program.url())
    expect(program.output).not.toContain('Anyone')
    const as = (credentials: string) =>
      new TestClient(url, { Authorization: `Basic ${Buffer.from(credentials).toString('base64')}` })
    for (const client of [new TestClient(url), as('alice:'), as('carol:'), as(':'), as('bob:open:sesame')]) {
      const answer = await client.create()
      expect([answer.status, answer.headers['www-authenticate']]).toEqual([
        401,
        'Basic realm="uploads", charset="UTF-8"',
      ])
    }
    const alice = as('alice:open:sesame')
    await alice.create()
    const bob = as('bob:knock knock')
    bob.sessionId = alice.sessionId
    expect(hresult(await bob.fragment(0, file, file.length))).toBe('0x8020001F')
    expect((await alice.fragment(0, file, file.length)).status).toBe(200)
  })

  it.each([
    ['/', '/a.bin'],
    ['x/y', '/x/y/a.bin'],
  ])('receives uploads at --path %s, and answers 404 elsewhere', async (path, target) => {
    const directory = await temporaryDirectory()
    const program = start(directory, 'serve', '--path', path)
    const [printed] = await program.says(/http:\S+\/(?=\n)/)
    const url = new URL(printed)
    expect(url.pathname).toBe(target.replace('a.bin', ''))
    url.hostname = '127.0.0.1'
    await uploadFile(new TestClient(new URL(target, url)), file)
    expect(await readFile(join(directory, 'incoming/a.bin'))).toEqual(file)
    const other = await fetch(new URL(target, url))
    expect([other.status, await other.text()]).toEqual([404, 'This server only accepts BITS uploads.\n'])
    expect((await fetch(new URL('/elsewhere', url))).status).toBe(404)
  })

  it('serves HTTPS with --self-signed, or with --cert and --key', async () => {
    const directory = await temporaryDirectory()
    const made = await generate([{ name: 'commonName', value: 'localhost' }], { algorithm: 'sha256' })
    await writeFile(join(directory, 'cert.pem'), made.cert)
    await writeFile(join(directory, 'key.pem'), made.private)
    const certificates = { made: ['--self-signed'], owned: ['--cert', 'cert.pem', '--key', 'key.pem'] }
    for (const [name, args] of Object.entries(certificates)) {
      const program = start(directory, 'serve', name, ...args)
      const url = await program.url()
      expect(url.protocol).toBe('https:')
      await uploadFile(new TlsClient(new URL('a.bin', url)), file)
      expect(await readFile(join(directory, name, 'a.bin'))).toEqual(file)
    }
  })

  it('prints the error in the first line, and exits with code 2 (usage) or 1', async () => {
    const directory = await temporaryDirectory()
    const taken = await serve(() => {})
    const cases: [args: string[], code: number, message: RegExp][] = [
      [['--prot', '1'], 2, /there is no option 'prot'; did you mean 'port'\?/],
      [['--port'], 2, /--port needs a value/],
      [['--overwrite=yes'], 2, /--overwrite takes no value/],
      [['--port', '99999'], 2, /--port is a whole number from 0 to 65535, not '99999'/],
      [['--max-size', 'big'], 2, /--max-size is a number of bytes, or a size such as 10gb, not 'big'/],
      [['--durability', 'some'], 2, /--durability must be file, fragment or none, not 'some'/],
      [['--user', 'alice'], 2, /--user must be NAME:PASSWORD/],
      [['--path', '/a b'], 2, /--path must be a path such as \/upload/],
      [['--cert', 'x.pem'], 2, /--cert and --key must be used together/],
      [
        ['--cert', 'x', '--key', 'y', '--self-signed'],
        2,
        /--self-signed cannot be used with --cert and --key/,
      ],
      [['a', 'b'], 2, /serve takes only one directory/],
      [['--port', taken.port, '--host', '127.0.0.1'], 1, /port \d+ is in use: .*another port with --port/],
    ]
    await Promise.all(
      cases.map(async ([args, code, message]) => {
        const outcome = await command(directory, 'serve', ...args)
        expect(outcome, args.join(' ')).toMatchObject({ code, stdout: '' })
        const [line = '', ...more] = outcome.stderr.trim().split('\n')
        expect(line).toMatch(message)
        expect(more).toEqual(code === 2 ? ['See: express-bits-upload serve --help'] : [])
      }),
    )
  })

  it.each<[args: string[], message: RegExp]>([
    [
      ['--cert', 'x.pem', '--key', 'y.pem'],
      /^express-bits-upload serve: --cert: cannot read x\.pem: the file does not exist \(ENOENT\)\n$/,
    ],
    [['--cert', 'a-file', '--key', 'a-file'], /--cert: a-file is not a certificate in PEM form/],
    [['a-file'], /cannot write to the directory \S+a-file: it is a file, not a directory/],
    [['a-file/x'], /cannot write to the directory \S+a-file\/x: it, or a part of its path, is a file/],
    // Its parent exists, but nothing can be created there.
    [['/proc/foo'], /cannot write to the directory \/proc\/foo: no directory can be created there/],
  ])('exits with code 1 and names the file or directory that cannot be used: %j', async (args, message) => {
    const directory = await temporaryDirectory()
    await writeFile(join(directory, 'a-file'), '')
    const outcome = await command(directory, 'serve', ...args)
    expect(outcome).toEqual({ code: 1, stdout: '', stderr: expect.stringMatching(message) })
  })

  it('exits with code 1 while another machine uses the directory, and names it', async () => {
    const directory = await temporaryDirectory()
    const locks = join(directory, 'incoming/.bits-sessions/locks')
    await mkdir(locks, { recursive: true })
    const write = () => writeFile(join(locks, 'other.machine'), 'running nas 4711\n')
    await write()
    const timer = setInterval(write, 200)
    onTestFinished(() => clearInterval(timer))
    expect(await command(directory, 'serve')).toEqual({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /^express-bits-upload serve: \S+ is in use by another process \(process 4711 on nas\) .*: run one process, or use a directory on a local file system/,
      ),
    })
  })
})

describe('command line', () => {
  it('prints help, the version, and a usage error for an unknown command', async () => {
    const directory = await temporaryDirectory()
    const help = await command(directory, '--help')
    expect(help).toMatchObject({ code: 0, stderr: '' })
    const [, ...listed] = help.stdout.matchAll(/^ {2}(\w+) {2,}\S/gm)
    for (const name of ['serve', ...listed.map((match) => match[1] ?? '')]) {
      const { code, stdout } = await command(directory, name, '--help')
      expect(code).toBe(0)
      expect(stdout).toContain(`Usage: express-bits-upload ${name} `)
    }
    expect(await command(directory)).toMatchObject({ code: 2, stdout: help.stdout })
    const unknown = await command(directory, 'sevre')
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toMatch(
      /^express-bits-upload: there is no command 'sevre'; the commands are serve/,
    )
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'))
    for (const option of ['--version', '-v'])
      expect(await command(directory, option)).toMatchObject({ code: 0, stdout: `${version}\n` })
  })

  it.each(['send', 'jobs'])('describes BITS_UPLOAD_JOBS in the help of %s', async (name) => {
    const { stdout } = await command(await temporaryDirectory(), name, '--help')
    expect(stdout).toMatch(/^ {2}BITS_UPLOAD_JOBS +Directory of the job files/m)
  })
})
