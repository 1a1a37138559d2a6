/**
 * A raw-socket server that checks requests as strictly as the specification allows, and answers as IIS 6 was seen to
 * answer ([MC-BUP] 4.1), unless a test supplies another answer.
 */

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import { withResolvers } from '../support/promise.ts'

/** A request, checked. */
export interface Packet {
  readonly method: string
  /** `Ping` and the like; of a GET it is `GET`. */
  readonly type: string
  readonly target: string
  /** The name in Host, without the port. */
  readonly host: string
  /** In lower case. */
  readonly fields: Readonly<Record<string, string>>
  /** Request line and fields, as text. */
  readonly head: string
  readonly body: Buffer
  /** Of a fragment. */
  readonly first: number
  readonly last: number
  readonly total: number
  /** How many came before it. */
  readonly index: number
}

/**
 * An answer, byte for byte; `cut` closes the connection and says nothing, `reset` resets it, and `hang` says nothing.
 */
export type Say = string | Cut
/** An answer that ends the connection behind its last byte. */
interface Cut {
  readonly text: string
}
export const cut = (text: string): Cut => ({ text })

export interface Behaviour {
  /** What is to be uploaded: each fragment's bytes have to be those of its place. */
  readonly file: Uint8Array
  /** What IIS would not have answered; undefined: what it would. */
  readonly answer?: (packet: Packet, iis: IisMemory) => Say | undefined | Promise<Say | undefined>
  /** Header fields of a 200 for Create-Session, beyond the usual. */
  readonly created?: Readonly<Record<string, string>>
  /** Header fields of the Ack for the last fragment, beyond the usual. */
  readonly completed?: Readonly<Record<string, string>>
}

/** What the server remembers of its one session. */
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
  /** The next fragment that begins here is not answered, */
  hangAt: number | undefined
  /** but this is called. */
  onHang: () => void
  /** `Create-Session`, `Fragment 0-99` and the like, in their order. */
  said(): string[]
  /** The outcome of a client's doing; fails if a request was not what the protocol demands. */
  watch<T>(work: Promise<T>): Promise<T>
}

const EndOfHead = '\r\n\r\n'
const Protocol = '{7df0354d-249b-430f-820d-3d2a9bef4931}'

/** Status line, fields and body; in Latin-1, a character is a byte. */
export function say(
  status: number,
  fields: Readonly<Record<string, string | number>> = {},
  body = '',
): string {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} Said\r\n${lines.join('')}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** An Ack with these fields. */
export const ack = (status: number, fields: Readonly<Record<string, string | number>> = {}): string =>
  say(status, { 'BITS-Packet-Type': 'Ack', ...fields })

/** An Ack for a fragment. */
export const received = (offset: number | string, status = 200): string =>
  ack(status, { 'BITS-Received-Content-Range': offset })

/** An error Ack, in the spelling of the open specification. */
export const failed = (status: number, hresult: string): string =>
  ack(status, { 'BITS-Error': hresult, 'BITS-Error-Context': '0x5' })

/** What IIS 6 was seen to write. */
const iisAck = (fields: Readonly<Record<string, string | number>> = {}): string =>
  ack(200, { Server: 'Microsoft-IIS/6.0', Pragma: 'no-cache', ...fields }).replace('200 Said', '200 OK')

/** What the open specification prescribes, as far as IIS was seen to follow it. */
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

/** The names of each request's fields, in the order of the captures; the caller's own stand in one place. */
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

/** The rules of section 2, each broken by throwing. */
function check(head: string, index: number, port: number): Omit<Packet, 'body'> & { length: number } {
  const must = (holds: unknown, rule: string): void => {
    if (!holds) throw new Error(`${rule}:\n${head}`)
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

/** Listens on a free port of the loopback until the test is over. */
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

  const talk = async (socket: Socket): Promise<void> => {
    let unread = Buffer.alloc(0)
    const bytes = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    const more = async (): Promise<boolean> => {
      const { done, value } = await bytes.next()
      if (!done) unread = Buffer.concat([unread, value])
      return !done
    }
    for (;;) {
      while (!unread.includes(EndOfHead)) if (!(await more())) return
      const end = unread.indexOf(EndOfHead)
      const { length, ...packet } = check(unread.toString('latin1', 0, end), packets.length, port)
      const from = end + EndOfHead.length
      while (unread.length < from + length) if (!(await more())) return
      const body = unread.subarray(from, from + length)
      unread = unread.subarray(from + length)
      if (unread.length > 0) throw new Error(`A request before the answer to the last one: ${unread}`)
      if (!body.equals(behaviour.file.subarray(packet.first, packet.last + 1))) {
        throw new Error(`Bytes that are not those of the file from ${packet.first} to ${packet.last}`)
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
    talk(socket).catch((error) => {
      socket.destroy()
      // The client may hang up whenever it likes.
      if ((error as NodeJS.ErrnoException).code === undefined) broken.reject(error)
    })
  })
  const { port: ours } = await listenRaw(server)
  const port = Number(ours)
  const fake: FakeServer = {
    url: new URL(`http://127.0.0.1:${port}/upload/`),
    port,
    packets,
    connections: 0,
    iis,
    hangAt: undefined,
    onHang: () => {},
    said: () =>
      packets.map(({ type, first, last }) => (type === 'Fragment' ? `Fragment ${first}-${last}` : type)),
    watch: (work) => Promise.race([work, broken.promise]),
  }
  return fake
}
