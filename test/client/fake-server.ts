/**
 * A raw-socket server that checks requests as strictly as the specification allows, and answers as IIS 6 was
 * seen to answer ([MC-BUP] 4.1), unless a test supplies another answer.
 */

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { withResolvers } from '../support/promise.ts'

/** A checked request. */
export interface Packet {
  readonly method: string
  /** The packet type, such as `Ping`; `GET` for a GET request. */
  readonly type: string
  readonly target: string
  /** The name in Host, without the port. */
  readonly host: string
  /** The names are in lower case. */
  readonly fields: Readonly<Record<string, string>>
  /** Request line and fields, as text. */
  readonly head: string
  readonly body: Buffer
  /** Of a fragment. */
  readonly first: number
  readonly last: number
  readonly total: number
  /** Number of earlier requests. */
  readonly index: number
}

/**
 * A response, byte for byte. `cut` closes the connection without a response, `reset` resets it, and `hang`
 * sends nothing.
 */
export type RawResponse = string | CutResponse
/** A response after which the server closes the connection. */
interface CutResponse {
  readonly text: string
}
export const cut = (text: string): CutResponse => ({ text })

export interface Behaviour {
  /** The file to upload. The bytes of each fragment must equal its bytes at that offset. */
  readonly file: Uint8Array
  /** Returns the response to a packet; undefined: the response of IIS. */
  readonly answer?: (
    packet: Packet,
    iis: IisMemory,
  ) => RawResponse | undefined | Promise<RawResponse | undefined>
  /** Additional header fields of the Ack for Create-Session. */
  readonly created?: Readonly<Record<string, string>>
  /** Additional header fields of the Ack for the last fragment. */
  readonly completed?: Readonly<Record<string, string>>
}

/** State of the server's only session. */
export interface IisMemory {
  sessionId: string | undefined
  held: number
  /** Sessions so far. */
  sessions: number
}

export interface FakeServer {
  /** `http://127.0.0.1:port/upload/` */
  readonly url: URL
  readonly port: number
  readonly packets: Packet[]
  /** Connections so far. */
  connections: number
  readonly iis: IisMemory
  /** The next fragment that begins at this offset gets no response, */
  hangAt: number | undefined
  /** and this function is called. */
  onHang: () => void
  /** The requests in their order, such as `Create-Session` or `Fragment 0-99`. */
  requests(): string[]
  /** Resolves as `work`, but rejects if a request violates the protocol. */
  watch<T>(work: Promise<T>): Promise<T>
}

const EndOfHead = '\r\n\r\n'
/** The first byte of a TLS ClientHello. */
const TlsHandshake = 0x16
const Protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

/** Formats a response. The body is Latin-1: each character is a byte. */
export function rawResponse(
  status: number,
  fields: Readonly<Record<string, string | number>> = {},
  body = '',
): string {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} Said\r\n${lines.join('')}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** An Ack with these fields. */
export const ack = (status: number, fields: Readonly<Record<string, string | number>> = {}): string =>
  rawResponse(status, { 'BITS-Packet-Type': 'Ack', ...fields })

/** An Ack for a fragment. */
export const received = (offset: number | string, status = 200): string =>
  ack(status, { 'BITS-Received-Content-Range': offset })

/** An error Ack, with the header name of the open specification. */
export const failed = (status: number, hresult: string): string =>
  ack(status, { 'BITS-Error': hresult, 'BITS-Error-Context': '0x5' })

/** An Ack as in the captures of IIS 6. */
const iisAck = (fields: Readonly<Record<string, string | number>> = {}): string =>
  ack(200, { Server: 'Microsoft-IIS/6.0', Pragma: 'no-cache', ...fields }).replace('200 Said', '200 OK')

/** The response of the open specification, in the form in which the captures show it. */
function iisAnswer(packet: Packet, iis: IisMemory, { created, completed }: Behaviour): string {
  if (packet.type === 'Ping') return iisAck()
  if (packet.type === 'Create-Session') {
    iis.sessions += 1
    iis.sessionId = `{A0FF5911-4144-45B3-BF27-27AFC8EC8A6${iis.sessions % 10}}`
    iis.held = 0
    return iisAck({
      'BITS-Protocol': Protocol,
      'BITS-Session-Id': iis.sessionId,
      ...created,
      'Accept-encoding': 'identity',
    })
  }
  if (packet.fields['bits-session-id'] !== iis.sessionId) return failed(500, 'x8020001F')
  if (packet.type !== 'Fragment') {
    iis.sessionId = undefined
    return iisAck()
  }
  if (packet.first !== iis.held) return received(iis.held, 416)
  iis.held = packet.last + 1
  return iisAck({
    'BITS-Received-Content-Range': iis.held,
    ...(iis.held === packet.total && completed),
  })
}

/** The field names of each request, in the order of the captures; the caller's fields are at `(own)`. */
const order = (names: string): RegExp =>
  new RegExp(`^${names.replace('(own)', '(?:(?!bits-)[^ ]+ )*?(?:User-Agent )?')}$`, 'i')
const orders: Readonly<Record<string, RegExp>> = {
  'Create-Session': order(
    'Accept BITS-Packet-Type BITS-Supported-Protocols (?:Content-Name )?(own)Host Content-Length Connection',
  ),
  Ping: order('Accept BITS-Packet-Type (own)Host Content-Length Connection'),
  Fragment: order(
    'Accept BITS-Packet-Type BITS-Session-Id (?:Content-Name )?Content-Range (own)Host Content-Length Connection',
  ),
  'Close-Session': order(
    'Accept BITS-Packet-Type BITS-Session-Id (?:Content-Name )?(own)Host Content-Length Connection',
  ),
  'Cancel-Session': order('Accept BITS-Packet-Type BITS-Session-Id (own)Host Content-Length Connection'),
  GET: order('Accept Accept-Encoding (?:If-Range )?Range (own)Host Connection'),
}

/** Checks a request against section 2 of [MC-BUP], and throws if it violates a rule. */
function check(head: string, index: number, port: number): Omit<Packet, 'body'> & { length: number } {
  const must = (isMet: unknown, rule: string): void => {
    if (!isMet) throw new Error(`${rule}:\n${head}`)
  }
  const [line = '', ...lines] = head.split('\r\n')
  const [method = '', target = ''] = /^(BITS_POST|GET) (\/[!-~]*) HTTP\/1\.1$/.exec(line)?.slice(1) ?? []
  must(method, 'a request line')
  const names: string[] = []
  const fields: Record<string, string> = {}
  for (const text of lines) {
    const [, name = '', value = ''] = /^([!#-'*+.^`|~\w-]+): ([\t -~\x80-\xff]*)$/.exec(text) ?? []
    must(name && value, 'a header field')
    must(!(name.toLowerCase() in fields), 'each field once')
    names.push(name)
    fields[name.toLowerCase()] = value
  }
  const type = method === 'GET' ? method : (fields['bits-packet-type'] ?? '')
  must(
    orders[type]?.test(names.join(' ')),
    'a packet type in mixed case, its fields in the order of the captures',
  )
  must(fields.accept === '*/*', 'Accept')
  must(fields.connection === 'Keep-Alive', 'Connection')
  const [host = '', at] = fields.host?.split(/:(?=\d+$)/) ?? []
  must(at === String(port), 'Host with the port')
  if (type === 'Create-Session') must(fields['bits-supported-protocols'] === Protocol, 'the protocol')
  if (type === 'GET') must(/^bytes=\d+-\d+$/.test(fields.range ?? ''), 'a range')
  const length = Number(fields['content-length'] ?? 0)
  const empty = fields['content-range'] === 'bytes 0-0/0'
  const [first = 0, last = -1, total = 0] = empty
    ? []
    : (/^bytes (\d+)-(\d+)\/(\d+)$/
        .exec(fields['content-range'] ?? '')
        ?.slice(1)
        .map(Number) ?? [])
  if (type === 'Fragment') {
    must(empty || (first <= last && last < total), 'a range with first <= last < total')
    must(length === last - first + 1, 'a Content-Length that is that of the range')
  } else {
    must(length === 0, 'no body')
  }
  return { method, type, target, host, fields, head, first, last, total, index, length }
}

/** Listens on a free port of 127.0.0.1 until the test ends. */
export async function listenRaw(server: Server): Promise<URL> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  )
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
}

export async function fakeServer(behaviour: Behaviour): Promise<FakeServer> {
  const packets: Packet[] = []
  const iis: IisMemory = { sessionId: undefined, held: 0, sessions: 0 }
  const broken = withResolvers<never>()
  broken.promise.catch(() => {})

  const handleConnection = async (socket: Socket): Promise<void> => {
    let unread = Buffer.alloc(0)
    const bytes = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const more = async (): Promise<boolean> => {
      const { done, value } = await bytes.next()
      if (!done) unread = Buffer.concat([unread, value])
      return !done
    }
    for (;;) {
      while (!unread.includes(EndOfHead)) {
        if (!(await more())) return
        // The client probes the port for TLS after a first request without an answer.
        if (unread[0] === TlsHandshake) return void socket.destroy()
      }
      const end = unread.indexOf(EndOfHead)
      const { length, ...packet } = check(unread.toString('latin1', 0, end), packets.length, port)
      const from = end + EndOfHead.length
      while (unread.length < from + length) if (!(await more())) return
      const body = unread.subarray(from, from + length)
      unread = unread.subarray(from + length)
      if (unread.length > 0) throw new Error(`A request before the response to the previous one: ${unread}`)
      if (!body.equals(behaviour.file.subarray(packet.first, packet.last + 1))) {
        throw new Error(`The bytes from ${packet.first} to ${packet.last} differ from the file`)
      }
      const whole = { ...packet, body }
      packets.push(whole)
      if (packet.type === 'Fragment' && packet.first === fake.hangAt) {
        fake.hangAt = undefined
        fake.onHang()
        continue
      }
      const answer = (await behaviour.answer?.(whole, iis)) ?? iisAnswer(whole, iis, behaviour)
      if (typeof answer === 'object') return void socket.end(answer.text, 'latin1')
      if (answer === 'cut') return void socket.end()
      if (answer === 'reset') return void socket.resetAndDestroy()
      if (answer !== 'hang') socket.write(answer, 'latin1')
    }
  }

  const server = createServer((socket) => {
    socket.on('error', () => {})
    fake.connections += 1
    handleConnection(socket).catch((error) => {
      socket.destroy()
      // The client may close the connection at any time.
      if ((error as NodeJS.ErrnoException).code === undefined) broken.reject(error)
    })
  })
  const port = Number((await listenRaw(server)).port)
  const fake: FakeServer = {
    url: new URL(`http://127.0.0.1:${port}/upload/`),
    port,
    packets,
    connections: 0,
    iis,
    hangAt: undefined,
    onHang: () => {},
    requests: () =>
      packets.map(({ type, first, last }) => (type === 'Fragment' ? `Fragment ${first}-${last}` : type)),
    watch: (work) => Promise.race([work, broken.promise]),
  }
  return fake
}
