import { readdir, writeFile } from 'node:fs/promises'
import { createServer as createTlsServer, type ServerOptions as TlsServerOptions } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import express from 'express'
import { generate } from 'selfsigned'
import { describe, expect, it } from 'vitest'
import { BitsError, type BitsUploadOptions, bitsUpload } from '../../lib/index.ts'
import { listenRaw } from '../client/fake-server.ts'
import { configFor, serverBlock } from '../farm/nginx-config.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { describeNginx, startNginx } from '../support/nginx.ts'
import { withResolvers } from '../support/promise.ts'
import { listen, serve, uploadServer } from '../support/server.ts'
import { command, start } from './cli.ts'
import { type Meddling, meddler, plainAnswer } from './meddler.ts'

async function doctor(url: URL | string, ...options: string[]) {
  const { code, stdout, stderr } = await command(
    await temporaryDirectory(),
    'doctor',
    ...options,
    String(url),
  )
  const lines = stdout.split('\n').slice(0, -1)
  const findings = lines.flatMap((line, i) => {
    const [, level, text] = /^(ok|warn|FAULT) +(.*)$/.exec(line) ?? []
    return level === undefined
      ? []
      : [{ level, text: String(text), remedy: /^ {7}(.*)/.exec(lines[i + 1] ?? '')?.[1] }]
  })
  return {
    code,
    stderr,
    lines,
    /** Warnings and faults: level, text, remedy. */
    wrong: findings.filter(({ level }) => level !== 'ok'),
    ok: findings.filter(({ level }) => level === 'ok').map(({ text }) => text),
  }
}

/** Expects exactly one warning or fault. */
function expectWrong(
  outcome: Awaited<ReturnType<typeof doctor>>,
  level: 'FAULT' | 'warn',
  text: RegExp,
  remedy: RegExp,
): void {
  expect(outcome.stderr).toBe('')
  expect(outcome.wrong).toEqual([
    { level, text: expect.stringMatching(text), remedy: expect.stringMatching(remedy) },
  ])
  expect(outcome.code).toBe(level === 'FAULT' ? 1 : 0)
  expect(outcome.lines.at(-1)).toMatch(level === 'FAULT' ? /^1 fault$/ : /^No faults, 1 warning$/)
}

/** Files of sessions and of uploads on the server, without those of its locks. */
async function filesIn(directory: string): Promise<string[]> {
  const names = await readdir(directory, { recursive: true })
  return names.filter((name) => name !== '.bits-sessions' && !name.startsWith('.bits-sessions/locks'))
}

async function through(meddling: Meddling, options: Partial<BitsUploadOptions> = {}) {
  const { url, directory } = await uploadServer(options)
  return { url: await meddler(url, meddling), directory }
}

describe('doctor on a healthy server', () => {
  it('prints an ok line for each check, and leaves no session or file', async () => {
    const { url, directory } = await uploadServer()
    const { code, wrong, ok, lines } = await doctor(new URL('report.zip', url))
    expect([code, wrong]).toEqual([0, []])
    expect(ok).toEqual([
      expect.stringMatching(/^Port \d+ of 127\.0\.0\.1 accepts connections$/),
      'A BITS server answers Ping',
      'The connection is kept for the next packet',
      'Create-Session is answered 200, with a session',
      'The first Fragment is answered 200, and 1000 bytes are held',
      'A Fragment that was sent before is answered 200, and 1000 bytes are held',
      'A Fragment after a gap is answered 416, and 1000 bytes are held',
      'A Fragment that overlaps held bytes is answered 200, and 1500 bytes are held',
      'A Fragment of 13MB passes, the largest that Windows sends',
      'Bytes are passed on as they arrive: of an interrupted Fragment 256KB are held',
      'Close-Session is answered 200, and the session is unknown afterwards',
      'Cancel-Session is answered 200, and the session is unknown afterwards',
    ])
    expect(lines.at(-1)).toBe('No faults')
    expect(await filesIn(directory)).toEqual([])
  })

  it('uploads a whole file and fetches its reply with --complete', async () => {
    const { url, directory } = await uploadServer({ onUpload: ({ size }) => `${size} bytes` })
    const { code, ok } = await doctor(url, '--complete')
    expect(code).toBe(0)
    const [file, ...more] = await filesIn(directory)
    expect([file, more]).toEqual([expect.stringMatching(/^bits-doctor-[0-9a-f]{16}\.tmp$/), []])
    expect(ok.slice(-4)).toEqual([
      expect.stringContaining(`it is at ${new URL(String(file), url)}`),
      expect.stringMatching(/^Its reply can be fetched, whole and in ranges: .*responsefile\.bin$/),
      'Its Close-Session is answered 200',
      'The reply is gone after Close-Session',
    ])
  })

  it('reports 401 as a fault, and authenticates with --user', async () => {
    const { url } = await uploadServer({
      authorize({ headers }) {
        if (headers.authorization === `Basic ${btoa('me:secret')}`) return 'me'
        throw new BitsError('unauthorized', undefined, { challenge: 'Basic realm="uploads"' })
      },
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /401 by Express: credentials are required, by Basic/,
      /--user NAME:PASSWORD/,
    )
    expect(await doctor(url, '--user', 'me:secret')).toMatchObject({ code: 0, wrong: [] })
  })

  it('prints the Host-Id host, and reports a fault if that does not answer', async () => {
    const { url } = await uploadServer({ hostId: 'localhost' })
    const { code, ok } = await doctor(url)
    expect(code).toBe(0)
    expect(ok).toContain(
      'The server assigns the host localhost for the later packets (BITS-Host-Id), and it answers',
    )
    const { url: other } = await uploadServer({ hostId: { host: 'node1.invalid', fallbackTimeout: 60 } })
    expectWrong(
      await doctor(other),
      'FAULT',
      /assigns the host node1\.invalid .* does not answer: .*clients try it for 60 seconds/,
      /hostId/,
    )
  })
})

describe('doctor command line', () => {
  it.each<[string[], RegExp]>([
    [[], /takes one URL/],
    [['http://a.example/', 'http://b.example/'], /takes one URL/],
    [['ftp://a.example/'], /https:\/\/files\.example\/upload/],
    [['http://me:secret@a.example/'], /credentials/],
    [['-H', 'Content-Length: 5', 'http://a.example/'], /Content-Length is reserved for the client/],
    [['--timeout', '0', 'http://a.example/'], /--timeout is a whole number/],
  ])('exits with code 2 for the arguments %j', async (args, message) => {
    const { code, stdout, stderr } = await command(await temporaryDirectory(), 'doctor', ...args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(message)
  })

  it('says in its help that a session may stay', async () => {
    const { stdout } = await command(await temporaryDirectory(), 'doctor', '--help')
    expect(stdout).not.toMatch(/\bnothing\b/)
    expect(stdout).toContain('a session that may stay on the server is reported')
  })

  it('reports the session that may stay if SIGINT interrupts Create-Session', async () => {
    const sent = withResolvers<void>()
    const { url } = await through({
      request(head) {
        if (!head.includes('Packet-Type: Create-Session')) return undefined
        sent.resolve()
        return ''
      },
    })
    const program = start(await temporaryDirectory(), 'doctor', url.href)
    await sent.promise
    expect(await program.end('SIGINT')).toBe(3)
    expect(program.output).toContain('1 session without a known id may be open on the server')
  })

  it('cancels its session and exits with code 3 on SIGINT', async () => {
    const { upload, url, directory } = await uploadServer()
    const created = new Promise((resolve) => upload.events.once('received', resolve))
    const hanging = await meddler(url, {
      request: (head) => (head.includes('bytes 2000-') ? '' : undefined),
    })
    const program = start(await temporaryDirectory(), 'doctor', hanging.href)
    await created
    const cancelled = new Promise((resolve) => upload.events.once('cancelled', resolve))
    await program.says(/sent before/)
    expect(await program.end('SIGINT')).toBe(3)
    await cancelled
    expect(await filesIn(directory)).toEqual([])
  })
})

describe('doctor connectivity check', () => {
  it('reports a port that refuses connections', async () => {
    // tcpmux: not in use, and never assigned as a free port.
    expectWrong(
      await doctor('http://127.0.0.1:1/'),
      'FAULT',
      /^Port 1 of 127\.0\.0\.1 refuses connections \(ECONNREFUSED\)$/,
      /Does the server run/,
    )
  })

  it('reports a host name that cannot be resolved', async () => {
    expectWrong(
      await doctor('http://nowhere.invalid/'),
      'FAULT',
      /^Cannot resolve nowhere\.invalid \(ENOTFOUND\)$/,
      /DNS/,
    )
  })

  it('reports a port that does not speak HTTP, or not TLS', async () => {
    const url = await listenRaw(createServer((socket) => socket.on('error', () => {}).end('220 mail\r\n')))
    expectWrong(
      await doctor(url),
      'FAULT',
      /^Ping is not answered: the answer is not HTTP/,
      /another protocol/,
    )
    const { url: plain } = await uploadServer()
    expectWrong(
      await doctor(plain.href.replace('http:', 'https:')),
      'FAULT',
      /^The server does not speak TLS/,
      /^Use http:/,
    )
  })

  it('reports a connection closed without an answer, or no answer within --timeout', async () => {
    const hangsUp = await listenRaw(
      createServer((socket) => socket.on('error', () => {}).once('data', () => socket.end())),
    )
    expectWrong(await doctor(hangsUp), 'FAULT', /closed without an answer/, /firewall/)
    const silent = await listenRaw(createServer((socket) => socket.on('error', () => {}).resume()))
    expectWrong(await doctor(silent, '--timeout', '1'), 'FAULT', /no answer for 1000 ms/, /logs/)
  })

  describe('certificates', () => {
    const make = async (name: string, options = {}) => {
      const { private: key, cert } = await generate([{ name: 'commonName', value: name }], {
        keyType: 'ec',
        algorithm: 'sha256',
        extensions: [{ name: 'subjectAltName', altNames: [{ type: 2, value: name }] }],
        ...options,
      })
      return { key, cert }
    }

    /** A server at https://localhost with this certificate, and a file with the certificate. */
    async function secure(pems: { key: string; cert: string } & TlsServerOptions) {
      const directory = await temporaryDirectory()
      const app = express().use(bitsUpload({ store: directory }))
      const { port } = await listen(createTlsServer(pems, app))
      const file = join(await temporaryDirectory(), 'cert.pem')
      await writeFile(file, pems.cert)
      return { url: `https://localhost:${port}/`, file }
    }

    it('reports an untrusted issuer, warns with --insecure, and is ok with --cacert', async () => {
      const { url, file } = await secure(await make('localhost'))
      expectWrong(
        await doctor(url),
        'FAULT',
        /signed by an authority that Node does not trust \(DEPTH_ZERO/,
        /--cacert FILE.*Windows/,
      )
      const insecure = await doctor(url, '--insecure')
      expectWrong(insecure, 'warn', /ignored because of --insecure/, /--cacert FILE/)
      const { code, ok, wrong } = await doctor(url, '--cacert', file)
      expect([code, wrong]).toEqual([0, []])
      expect(ok).toContain('The certificate is valid for localhost')
    })

    it.each([
      [
        '1.3',
        /^Ping is not answered: The server requires a client certificate/,
        /^Pass --cert FILE and --key.*1\.3/,
      ],
      ['1.2', /^The TLS handshake failed .*client certificate/, /--cert and --key/],
    ] as const)(
      'reports a client certificate that is required under TLS %s',
      async (version, text, remedy) => {
        const { url, file } = await secure({
          ...(await make('localhost')),
          requestCert: true,
          maxVersion: `TLSv${version}`,
        })
        expectWrong(await doctor(url, '--cacert', file), 'FAULT', text, remedy)
      },
    )

    it('reports http in the URL of a port that uses TLS', async () => {
      const { url } = await secure(await make('localhost'))
      expectWrong(
        await doctor(url.replace('https:', 'http:')),
        'FAULT',
        /^Ping is not answered: The server uses TLS on this port; write https:/,
        /^Correct the scheme/,
      )
    })

    it('reports a certificate for another name', async () => {
      const { url, file } = await secure(await make('elsewhere.example'))
      expectWrong(
        await doctor(url, '--cacert', file),
        'FAULT',
        /not for the name localhost/,
        /subjectAltName/,
      )
    })

    it('reports an expired certificate', async () => {
      const expired = { notBeforeDate: new Date('2020-01-01'), notAfterDate: new Date('2021-01-01') }
      const { url, file } = await secure(await make('localhost', expired))
      expectWrong(
        await doctor(url, '--cacert', file),
        'FAULT',
        /has expired \(CERT_HAS_EXPIRED\)/,
        /^Renew it/,
      )
    })
  })
})

describe('doctor Ping check', () => {
  it('reports a web server without BITS', async () => {
    const directory = await temporaryDirectory()
    // Servers of this process know the method, so that the answer is 404. Other servers do not know it.
    const site = await serve(express().use(express.static(directory)))
    expectWrong(
      await doctor(site),
      'FAULT',
      /404 by Express: a web server answers, but no BITS server/,
      /bitsUpload\(\)/,
    )
    const anything = await serve(express().use((_, response) => void response.send('<h1>Welcome</h1>')))
    expectWrong(
      await doctor(anything),
      'FAULT',
      /200 by Express: a web server answers, but no BITS/,
      /Check the path/,
    )
    const raw = await listenRaw(
      createServer((socket) =>
        socket.on('error', () => {}).once('data', () => socket.end(plainAnswer('400 Bad Request'))),
      ),
    )
    expectWrong(await doctor(raw), 'FAULT', /400: the web server does not know the method/, /bitsUpload\(\)/)
  })

  it('reports a proxy that refuses BITS_POST, and runs the other checks', async () => {
    const { url, directory } = await through({
      request: (head) =>
        head.startsWith('BITS_POST ') ? plainAnswer('405 Method Not Allowed', 'Server: Wall') : undefined,
    })
    const outcome = await doctor(url)
    expectWrong(
      outcome,
      'FAULT',
      /answered 405 by Wall, .* a proxy or firewall refuses the method/,
      /Override: BITS_POST/,
    )
    // The other checks are made.
    expect(outcome.ok.at(-1)).toMatch(/^Cancel-Session is answered/)
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports a proxy that gives no valid answer to BITS_POST', async () => {
    const { url } = await through({
      request: (head) => (head.startsWith('BITS_POST ') ? 'HTTP/1.1 \r\n' : undefined),
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /not answered.*a proxy or firewall refuses the method/,
      /Allow the method/,
    )
  })

  it('reports a redirect', async () => {
    const url = await serve((_, response) =>
      response.writeHead(301, { Location: 'https://files.example/upload/', 'Content-Length': 0 }).end(),
    )
    expectWrong(
      await doctor(url),
      'FAULT',
      /301: it redirects to https:\/\/files\.example\/upload\/, and BITS ends/,
      /Use that URL/,
    )
  })

  it('reports a server that offers only Negotiate and NTLM', async () => {
    const url = await serve((_, response) =>
      response.writeHead(401, { 'WWW-Authenticate': ['Negotiate', 'NTLM'], 'Content-Length': 0 }).end(),
    )
    expectWrong(
      await doctor(url),
      'FAULT',
      /credentials are required, by Negotiate, NTLM/,
      /only Basic and Digest/,
    )
  })

  it('reports a URL of a folder without a slash at its end, and runs the other checks', async () => {
    const { url, directory } = await uploadServer()
    const outcome = await doctor(url.href.replace(/\/$/, ''))
    expectWrong(
      outcome,
      'FAULT',
      /^No BITS server answers at .*\/upload, .*with a slash at its end it does$/,
      /^Write the slash .*\/upload\/$/,
    )
    expect(outcome.ok.at(-1)).toMatch(/^Cancel-Session is answered/)
    expect(await filesIn(directory)).toEqual([])
  })

  it.each([
    ['429 Too Many Requests', /429: the server or a proxy limits the number of requests/, /answer 503/],
    ['411 Length Required', /411: the server requires Content-Length/, /Caddy, Traefik/],
  ])('reports %s', async (status, text, remedy) => {
    const { url } = await through({ request: () => plainAnswer(status) })
    expectWrong(await doctor(url), 'FAULT', text, remedy)
  })

  it('reports a missing Content-Length of BITS_POST, although a Ping as POST is answered', async () => {
    const { url } = await through({
      request: (head) => (head.startsWith('BITS_POST ') ? plainAnswer('411 Length Required') : undefined),
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /411: the server requires Content-Length/,
      /Caddy, Traefik, cloudflared/,
    )
  })

  it('reports an Ack with 400 to Ping, and proxies that remove Content-Length as a cause', async () => {
    const url = await serve((_, response) =>
      response.writeHead(400, { 'BITS-Packet-Type': 'Ack', 'Content-Length': 0 }).end(),
    )
    expectWrong(
      await doctor(url),
      'FAULT',
      /^Ping is answered 400: the server finds the packet or its URL invalid/,
      /Caddy, Traefik, cloudflared/,
    )
  })

  it('reports disabled uploads (501)', async () => {
    const { url } = await uploadServer({ enabled: false })
    expectWrong(await doctor(url), 'FAULT', /501, 0x80070005.*uploads are disabled/, /`enabled`/)
  })

  it('reports a 403 from authorize', async () => {
    const { url } = await uploadServer({ authorize: () => false })
    expectWrong(await doctor(url), 'FAULT', /^Ping is answered 403.*access is denied/, /`authorize`/)
  })

  it('reports a 502 from a proxy', async () => {
    const url = await serve((_, response) => response.writeHead(502, { 'Content-Length': 0 }).end())
    expectWrong(await doctor(url), 'FAULT', /502: a proxy got no answer/, /Does the server run/)
  })
})

describe('doctor Create-Session check', () => {
  it('reports a missing folder (404)', async () => {
    const { url } = await uploadServer()
    expectWrong(
      await doctor(new URL('missing/', url)),
      'FAULT',
      /^Create-Session is answered 404.*folder/,
      /createFolders/,
    )
  })

  it('reports a 503 for a second session above maxSessions', async () => {
    const { url } = await uploadServer({ maxSessions: 1 })
    // The check of the fragment limit creates a second session.
    expectWrong(
      await doctor(url),
      'FAULT',
      /another Create-Session is answered 503/,
      /maxSessions.*Run it again/,
    )
  })

  const without = (name: string) => (text: string) => text.replace(new RegExp(`^${name}: .*\r\n`, 'im'), '')

  it('reports an Ack without BITS-Protocol, and cancels its session', async () => {
    const { url, directory } = await through({ answer: without('BITS-Protocol') })
    expectWrong(await doctor(url), 'FAULT', /BITS-Protocol is missing/, /removes header fields/)
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports an Ack without BITS-Session-Id, and the session that stays', async () => {
    const { url } = await through({ answer: without('BITS-Session-Id') })
    const { code, wrong } = await doctor(url)
    expect(code).toBe(1)
    expect(wrong).toEqual([
      {
        level: 'FAULT',
        text: expect.stringMatching(/BITS-Session-Id is missing/),
        remedy: expect.stringMatching(/removes header fields/),
      },
      {
        level: 'warn',
        text: '1 session without a known id may be open on the server',
        remedy: expect.stringMatching(/expireAfter/),
      },
    ])
  })

  it('names a Create-Session that hangs, and the session that may stay', async () => {
    const { url } = await through({
      request: (head) => (head.includes('Packet-Type: Create-Session') ? '' : undefined),
    })
    const { wrong } = await doctor(url, '--timeout', '1')
    expect(wrong.map(({ text }) => text)).toEqual([
      'The check ended early (Create-Session): Create-Session is not answered: There was no answer for 1000 ms',
      '1 session without a known id may be open on the server',
    ])
  })

  it.each(['504 Gateway Timeout', '200 OK'])(
    'reports the session that may stay if a proxy answers Create-Session with %s',
    async (status) => {
      const { url } = await through({
        request: (head) => (head.includes('Packet-Type: Create-Session') ? plainAnswer(status) : undefined),
      })
      const { wrong } = await doctor(url)
      expect(wrong.map(({ text }) => text)).toEqual([
        expect.stringMatching(/^Create-Session is answered (?:504|200): /),
        '1 session without a known id may be open on the server',
      ])
    },
  )

  it('cancels the session of a Create-Session that is not answered with an Ack', async () => {
    const { url, directory } = await through({
      answer: (text) => (/^BITS-Protocol/im.test(text) ? without('BITS-Packet-Type')(text) : text),
    })
    expectWrong(await doctor(url), 'FAULT', /^Create-Session is answered 200/, /Check the path/)
    expect(await filesIn(directory)).toEqual([])
  })

  it('warns of an Ack without Accept-Encoding', async () => {
    const { url } = await through({ answer: (text) => text.replace(/^Accept-Encoding: .*\r\n/im, '') })
    expectWrong(await doctor(url), 'warn', /without Accept-Encoding: identity/, /2\.2\.3\.2/)
  })
})

describe('doctor Ack format check', () => {
  it.each<[string, (text: string) => string, RegExp, RegExp]>([
    [
      'HTTP/1.0',
      (text) => text.replace('HTTP/1.1', 'HTTP/1.0'),
      /HTTP\/1\.0, and BITS requires 1\.1/,
      /proxy_http_version/,
    ],
    [
      'no Content-Length',
      (text) => text.replace(/^Content-Length: .*\r\n/im, ''),
      /without Content-Length/,
      /wait/,
    ],
    [
      'a chunked body',
      (text) => `${text.replace(/^Content-Length: .*$/im, 'Transfer-Encoding: chunked')}0\r\n\r\n`,
      /are chunked/,
      /removes the field Content-Length/,
    ],
    [
      'compression',
      (text) => `${text.replace(/^Content-Length: .*$/im, 'Content-Encoding: gzip\r\nContent-Length: 2')}..`,
      /compressed \(gzip\)/,
      /Turn compression off/,
    ],
    [
      'a body',
      (text) => `${text.replace(/^Content-Length: .*$/im, 'Content-Length: 2')}ok`,
      /^Answers have a body/,
      /proxy_intercept_errors/,
    ],
  ])('reports Acks with %s exactly once', async (_, change, text, remedy) => {
    const { url, directory } = await through({ answer: change })
    const outcome = await doctor(url)
    expectWrong(outcome, 'FAULT', text, remedy)
    expect(outcome.ok.at(-1)).toMatch(/^Cancel-Session is answered/)
    expect(await filesIn(directory)).toEqual([])
  })

  it('warns if every Ack closes the connection', async () => {
    const { url } = await through({
      answer: (text) => text.replace(/^Connection: .*$/im, 'Connection: close'),
    })
    expectWrong(await doctor(url), 'warn', /^Every answer closes the connection/, /NTLM/)
  })
})

describe('doctor Fragment check', () => {
  const answered = (text: string) => /^BITS-Received-Content-Range: (\d+)/im.exec(text)?.[1]

  it.each<[string, (text: string) => string, RegExp]>([
    [
      'a missing BITS-Received-Content-Range',
      (text) => text.replace(/^BITS-Received-Content-Range: .*\r\n/im, ''),
      /^The first Fragment is answered 200 without BITS-Received-Content-Range/,
    ],
    [
      'a missing BITS-Received-Content-Range in a 416',
      (text) => (text.includes(' 416 ') ? text.replace(/^BITS-Received-Content-Range: .*\r\n/im, '') : text),
      /^A Fragment after a gap is answered 416 without BITS-Received/,
    ],
    [
      'the last byte instead of the next offset',
      (text) => (answered(text) === '1000' ? text.replace(/(Content-Range): 1000/i, '$1: 999') : text),
      /^The first Fragment is answered 200 with BITS-Received-Content-Range: 999, where 1000/,
    ],
    [
      'a wrong offset after an overlap',
      (text) => text.replace(/(Content-Range): 1500/i, '$1: 1000'),
      /^A Fragment that overlaps .*: 1000, where 1500/,
    ],
  ])('reports %s', async (_, change, text) => {
    const { url, directory } = await through({ answer: change })
    expectWrong(await doctor(url), 'FAULT', text, /Clients continue from that number/)
    expect(await filesIn(directory)).toEqual([])
  })

  it('names a header field that is misspelled', async () => {
    const { url } = await through({
      answer: (text) => text.replace('BITS-Received-Content-Range', 'BITS-Recieved-Content-Range'),
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /without BITS-Received-Content-Range \(but with bits-recieved-content-range\)/,
      /Clients continue/,
    )
  })

  it('accepts a 416 with the right offset for a Fragment that was sent before or overlaps', async () => {
    let times = 0
    const { url, directory } = await through({
      request: (head) => {
        if (head.includes('Content-Range: bytes 0-999/1048576')) times += 1
        const isRepeated = head.includes('Content-Range: bytes 0-999/1048576') && times === 2
        if (!isRepeated && !head.includes('Content-Range: bytes 500-')) return undefined
        return plainAnswer('416 Range', 'BITS-Packet-Type: Ack', 'BITS-Received-Content-Range: 1000')
      },
    })
    const { code, wrong, ok } = await doctor(url)
    expect([code, wrong]).toEqual([0, []])
    expect(ok).toContain('A Fragment that was sent before is answered 416, and 1000 bytes are held')
    expect(ok).toContain('A Fragment that overlaps held bytes is answered 416, and 1000 bytes are held')
    expect(await filesIn(directory)).toEqual([])
  })

  it('names the offset that is missing in a 416 for a Fragment that was sent before', async () => {
    let times = 0
    const { url } = await through({
      request: (head) => {
        if (!head.includes('Content-Range: bytes 0-999/1048576')) return undefined
        times += 1
        return times === 2 ? plainAnswer('416 Range', 'BITS-Packet-Type: Ack') : undefined
      },
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /^A Fragment that was sent before is answered 416 without BITS-Received-Content-Range, where 1000/,
      /Clients continue from that number/,
    )
  })

  it('names a Fragment that hangs', async () => {
    const { url, directory } = await through({
      request: (head) => (head.includes('bytes 2000-') ? '' : undefined),
    })
    expectWrong(
      await doctor(url, '--timeout', '1'),
      'FAULT',
      /^The check ended early \(Fragments\): Fragment is not answered: There was no answer for 1000 ms$/,
      /holds it back/,
    )
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports a server that returns to 0 after a repeated Fragment', async () => {
    let times = 0
    const { url } = await through({
      answer: (text) => {
        if (answered(text) !== '1000' || text.includes(' 416 ')) return text
        times += 1
        return times === 2 ? text.replace(/(Content-Range): 1000/i, '$1: 0') : text
      },
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /^A Fragment that was sent before .*: 0, where 1000/,
      /Clients continue/,
    )
  })

  it('reports a server that answers 200 to a Fragment after a gap', async () => {
    const { url } = await through({ answer: (text) => text.replace('416 Range Not Satisfiable', '200 OK') })
    expectWrong(
      await doctor(url),
      'FAULT',
      /after a gap is answered 200.* the protocol requires 416/,
      /lose bytes/,
    )
  })

  it('reports an HTML error page instead of a 416 Ack', async () => {
    const { url } = await through({
      answer: (text) =>
        text.includes(' 416 ')
          ? 'HTTP/1.1 416 No\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nNo'
          : text,
    })
    expectWrong(await doctor(url), 'FAULT', /416, but not by the server/, /proxy_intercept_errors off/)
  })
})

describe('doctor fragment limit check', () => {
  const above = (limit: number, answer: string) => (head: string) =>
    Number(/^content-length: (\d+)/im.exec(head)?.[1]) > limit ? answer : undefined

  it.each<[string, string, 'warn' | 'FAULT', RegExp]>([
    [
      '413',
      plainAnswer('413 Too Large', 'Server: Wall'),
      'warn',
      /413 by Wall, by a proxy: (.*); clients send/,
    ],
    [
      '404 (as IIS does)',
      plainAnswer('404 Not Found'),
      'FAULT',
      /404, as by the request filter of IIS; .*: (.*)$/,
    ],
    ['no valid answer', 'HTTP/1.1 \r\n', 'FAULT', /get no answer, .*: (.*)$/],
  ])('finds the 1 MB limit of a proxy that enforces it with %s', async (_, answer, level, text) => {
    const { url, directory } = await through({ request: above(1024 * 1024, answer) })
    const outcome = await doctor(url)
    expectWrong(outcome, level, text, /client_max_body_size 0/)
    const [, passes, fails] = /([\d.]+)KB pass, ([\d.]+)MB do not/.exec(outcome.wrong[0]?.text ?? '') ?? []
    expect(Number(passes)).toBeGreaterThan(900)
    expect(Number(passes)).toBeLessThanOrEqual(1024)
    expect(Number(fails)).toBeLessThan(1.2)
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports a proxy that refuses even the smallest Fragment', async () => {
    const { url } = await through({ request: above(4000, plainAnswer('413 Too Large')) })
    expectWrong(await doctor(url), 'FAULT', /not even the smallest passes/, /client_max_body_size 0/)
  })

  it('warns of the maxFragmentSize of the server, and keeps later checks below it', async () => {
    const { url } = await uploadServer({ maxFragmentSize: '200kb' })
    const outcome = await doctor(url)
    expectWrong(outcome, 'warn', /413.*, by the server: (?:19\d(?:\.\d)?|200)KB pass/, /maxFragmentSize/)
    // The later checks use smaller fragments.
    expect(outcome.ok).toContainEqual(expect.stringMatching(/^Bytes are passed on/))
  })

  it('warns of the maxSize of the server', async () => {
    const { url } = await uploadServer({ maxSize: '3mb' })
    expectWrong(await doctor(url), 'warn', /accepts no large files \(500, 0x80200020/, /maxSize/)
  })
})

describe('doctor buffering check', () => {
  it('warns if a proxy buffers whole requests', async () => {
    const { url, directory } = await through({ buffer: true })
    expectWrong(
      await doctor(url),
      'warn',
      /nothing is held: a proxy buffers whole requests/,
      /proxy_request_buffering off/,
    )
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports the status of the question for the offset, not a proxy that buffers', async () => {
    let isInterrupted = false
    const { url } = await through({
      request: (head) => {
        if (head.includes('Content-Length: 524288')) isInterrupted = true
        return isInterrupted && head.includes('Content-Range: bytes 1048575-')
          ? plainAnswer('429 Too Many Requests')
          : undefined
      },
    })
    expectWrong(
      await doctor(url),
      'FAULT',
      /^A Fragment after an interrupted one is answered 429: .* limits the number of requests$/,
      /answer 503/,
    )
  })
})

describe('doctor Close-Session and Cancel-Session check', () => {
  const refuse = (type: string) => (head: string) =>
    head.includes(`Packet-Type: ${type}`) ? plainAnswer('403 Forbidden') : undefined

  it('reports a refused Close-Session', async () => {
    const { url, directory } = await through({ request: refuse('Close-Session') })
    const text = /^Close-Session of an unfinished upload is answered 403/
    expectWrong(await doctor(url), 'FAULT', text, /firewall/i)
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports a refused Cancel-Session, and warns of the sessions left open', async () => {
    const { url } = await through({ request: refuse('Cancel-Session') })
    const { code, wrong } = await doctor(url)
    expect(code).toBe(1)
    expect(wrong).toEqual([
      {
        level: 'FAULT',
        text: expect.stringMatching(/^Cancel-Session of an unfinished upload is answered 403/),
        remedy: expect.stringMatching(/firewall/),
      },
      {
        level: 'warn',
        text: expect.stringMatching(/^2 sessions could not be cancelled: \{.*\} \{.*\}$/),
        remedy: expect.stringMatching(/expireAfter/),
      },
    ])
  })

  it.each<[string, string[]]>([
    ['Close-Session', []],
    [
      'Cancel-Session',
      [expect.stringMatching(/^2 sessions could not be cancelled: \{.*\} \{.*\}$/) as unknown as string],
    ],
  ])('names a %s that hangs', async (type, more) => {
    const { url } = await through({
      request: (head) => (head.includes(`Packet-Type: ${type}`) ? '' : undefined),
    })
    const { wrong } = await doctor(url, '--timeout', '1')
    expect(wrong.map(({ text }) => text)).toEqual([
      `The check ended early (Close-Session and Cancel-Session): ${type} is not answered: There was no answer for 1000 ms`,
      ...more,
    ])
  })

  it('reports a Close-Session without effect, and cancels the session', async () => {
    const { url, directory } = await through({
      request: (head) =>
        head.includes('Packet-Type: Close-Session')
          ? plainAnswer('200 OK', 'BITS-Packet-Type: Ack')
          : undefined,
    })
    const text = /^After Close-Session the session should be unknown .* answered 400/
    expectWrong(await doctor(url), 'FAULT', text, /BITS-Error-Code/)
    expect(await filesIn(directory)).toEqual([])
  })

  it('reports that 0x8020001F is missing after Close-Session and Cancel-Session', async () => {
    const { url } = await through({ answer: (text) => text.replace(/^BITS-Error.*\r\n/gim, '') })
    const { code, wrong } = await doctor(url)
    expect(code).toBe(1)
    expect(wrong.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^After Close-Session the session should be unknown/),
      expect.stringMatching(/^After Cancel-Session the session should be unknown/),
    ])
    expect(wrong[0]?.remedy).toMatch(/BITS-Error-Code/)
  })
})

describe('doctor --complete', () => {
  const onUpload = () => 'the reply'
  const ofReply = (change: (text: string) => string) => (text: string) =>
    /^Last-Modified/im.test(text) ? change(text) : text

  it('reports a refused last Fragment', async () => {
    const { url } = await uploadServer({
      onUpload() {
        throw new BitsError('application-refused')
      },
    })
    expectWrong(
      await doctor(url, '--complete'),
      'FAULT',
      /^The last Fragment of a complete upload is answered 403/,
      /Is this user allowed/,
    )
  })

  it.each<[string, (text: string) => string, RegExp, RegExp]>([
    [
      'no ranges',
      (text) => text.replace('206 Partial Content', '200 OK'),
      /no ranges/,
      /BITS fetches replies in ranges/,
    ],
    [
      'no Last-Modified',
      (text) => text.replace(/^Last-Modified: .*\r\n/im, ''),
      /without Last-Modified/,
      /let the field/,
    ],
    [
      'compression',
      (text) => text.replace(/^Last-Modified/im, 'Content-Encoding: gzip\r\nLast-Modified'),
      /reply is compressed \(gzip\)/,
      /Turn compression off/,
    ],
  ])('reports a reply with %s', async (_, change, text, remedy) => {
    const { url } = await through({ answer: ofReply(change) }, { onUpload })
    expectWrong(await doctor(url, '--complete'), 'FAULT', text, remedy)
  })

  it('reports a reply on a host that cannot be reached', async () => {
    const { url } = await uploadServer({ onUpload: () => new URL('http://127.0.0.1:1/reply') })
    expectWrong(
      await doctor(url, '--complete'),
      'FAULT',
      /^The host of the reply cannot be reached: HEAD of http:\/\/127\.0\.0\.1:1\/reply is not answered/,
      /BITS-Reply-URL/,
    )
  })

  it('reports a reply whose Last-Modified follows the clock', async () => {
    const change = (text: string) =>
      text.replace(/^Last-Modified: .*$/im, `Last-Modified: ${new Date().toUTCString()}`)
    const { url } = await through({ answer: ofReply(change) }, { onUpload })
    expectWrong(await doctor(url, '--complete'), 'FAULT', /^Last-Modified of the reply changes from/, /412/)
  })

  it('reports a reply whose GET is refused', async () => {
    const { url } = await through(
      { request: (head) => (head.startsWith('GET ') ? plainAnswer('403 Forbidden') : undefined) },
      { onUpload },
    )
    const { wrong } = await doctor(url, '--complete')
    expect(wrong[0]?.text).toMatch(/^GET of the reply at .* is refused: it is answered 403, and HEAD 200$/)
    expect(wrong[0]?.remedy).toMatch(/^Allow GET/)
  })

  it('reports a reply of which only GET without a range is refused', async () => {
    const { url } = await through(
      {
        request: (head) =>
          head.startsWith('GET ') && !/^Range:/im.test(head) ? plainAnswer('403 Forbidden') : undefined,
      },
      { onUpload },
    )
    const { wrong } = await doctor(url, '--complete')
    expect(wrong[0]?.text).toBe('GET of the reply is answered 403')
    expect(wrong.map(({ text }) => text)).not.toContain('The reply comes without Last-Modified')
  })

  it('reports that the file may stay if the Ack of the last Fragment is wrong', async () => {
    const { url, directory } = await through({
      answer: (text) => text.replace(/(Content-Range): 1024/i, '$1: 1000'),
    })
    expectWrong(
      await doctor(url, '--complete'),
      'FAULT',
      /^The last Fragment of a complete upload is answered 200 with .*: 1000, where 1024 .* The file may be on the server: http.*\.tmp$/,
      /Clients continue/,
    )
    expect(await filesIn(directory)).toHaveLength(1)
  })

  it('reports that the file may stay if the last Fragment is not answered', async () => {
    const { url } = await through({
      request: (head) => (head.includes('bytes 800-1023/1024') ? '' : undefined),
    })
    expectWrong(
      await doctor(url, '--complete', '--timeout', '1'),
      'FAULT',
      /^A Fragment of a complete upload is not answered: .* The file may be on the server: http.*\.tmp$/,
      /logs/,
    )
  })

  it('reports a reply URL that answers HEAD with 404', async () => {
    const { url } = await through(
      { request: (head) => (head.startsWith('HEAD ') ? plainAnswer('404 Not Found') : undefined) },
      { onUpload },
    )
    expectWrong(
      await doctor(url, '--complete'),
      'FAULT',
      /^HEAD of the reply at .* is answered 404/,
      /GET and HEAD of this URL must reach/,
    )
  })

  it('warns if the reply is still served after Close-Session', async () => {
    const { url } = await through(
      {
        answer: (text) => (text.startsWith('HTTP/1.1 404') ? text.replace('404 Not Found', '200 OK') : text),
      },
      { onUpload },
    )
    expectWrong(await doctor(url, '--complete'), 'warn', /still there after Close-Session/, /cache/)
  })
})

describeNginx('doctor behind nginx', () => {
  it('warns of the 1 MB body limit and of request buffering in the default configuration', async () => {
    const { url: server, directory } = await uploadServer()
    const { url } = await startNginx((port) =>
      serverBlock(port, `location / { proxy_pass ${server.origin}; }`),
    )
    const { code, wrong } = await doctor(new URL('upload/', url))
    expect(code).toBe(0)
    expect(wrong).toEqual([
      {
        level: 'warn',
        text: expect.stringMatching(/413 by nginx.* 9\d\d(?:\.\d)?KB pass|413 by nginx.* 1MB pass/),
        remedy: expect.stringMatching(/client_max_body_size 0/),
      },
      {
        level: 'warn',
        text: expect.stringMatching(/a proxy buffers whole requests/),
        remedy: expect.stringMatching(/proxy_request_buffering off/),
      },
    ])
    expect(await filesIn(directory)).toEqual([])
  })

  it('finds no fault with the documented configuration', async () => {
    const { url: server } = await uploadServer()
    const { url } = await startNginx((port) => serverBlock(port, configFor(server.origin)))
    expect(await doctor(new URL('upload/', url))).toMatchObject({ code: 0, wrong: [] })
  })
})
