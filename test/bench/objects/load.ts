/** The clients of the benchmark. Their packets go to the nodes in turn, as nginx would send them. */
import { randomUUID } from 'node:crypto'
import {
  Agent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  request,
} from 'node:http'
import { handleRequests } from './child.ts'

export type Task =
  /** This many clients upload files one after another until the time is over. */
  | { task: 'upload'; nodes: string[]; clients: number; size: number; fragment: number; seconds: number }
  /** This many clients begin a fragment and stop in the middle of it. */
  | { task: 'begin'; nodes: string[]; clients: number; size: number; part: number }
  /** The same clients send that fragment again, to this node. */
  | { task: 'repeat'; node: string }
  | { task: 'end' }

export interface UploadResult {
  readonly uploads: number
  readonly seconds: number
}

const agent = new Agent({ keepAlive: true })

function begin(url: string, type: string, headers: OutgoingHttpHeaders): ClientRequest {
  return request(url, { method: 'BITS_POST', agent, headers: { 'BITS-Packet-Type': type, ...headers } })
}

function responseTo(packet: ClientRequest): Promise<IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    packet.on('error', reject).on('response', (response) => {
      response.resume().on('end', () => {
        if (response.statusCode === 200) resolve(response.headers)
        else reject(new Error(`${packet.getHeader('BITS-Packet-Type')}: status ${response.statusCode}`))
      })
    })
  })
}

function send(url: string, type: string, headers: OutgoingHttpHeaders, body: Uint8Array = Buffer.alloc(0)) {
  const packet = begin(url, type, { ...headers, 'Content-Length': body.length })
  const response = responseTo(packet)
  packet.end(body)
  return response
}

async function create(url: string): Promise<OutgoingHttpHeaders> {
  const headers = { 'BITS-Supported-Protocols': '{7df0354d-249b-430f-820d-3d2a9bef4931}' }
  return { 'BITS-Session-Id': (await send(url, 'Create-Session', headers))['bits-session-id'] }
}

const range = (first: number, length: number, total: number): OutgoingHttpHeaders => ({
  'Content-Range': `bytes ${first}-${first + length - 1}/${total}`,
})

let turn = 0

async function uploadOne(nodes: readonly string[], file: Buffer, fragment: number): Promise<void> {
  const name = randomUUID()
  const url = (): string => `${nodes[turn++ % nodes.length]}${name}`
  const session = await create(url())
  for (let first = 0; first < file.length; first += fragment) {
    const body = file.subarray(first, first + fragment)
    await send(url(), 'Fragment', { ...session, ...range(first, body.length, file.length) }, body)
  }
  await send(url(), 'Close-Session', session)
}

async function upload({ nodes, clients, size, fragment, seconds }: Extract<Task, { task: 'upload' }>) {
  const file = Buffer.alloc(size, 'x')
  const startedAt = performance.now()
  const elapsed = (): number => (performance.now() - startedAt) / 1000
  let uploads = 0
  const client = async (): Promise<void> => {
    while (elapsed() < seconds) {
      await uploadOne(nodes, file, fragment)
      uploads += 1
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  return { uploads, seconds: elapsed() }
}

/** Fragments that have begun and not ended. */
let open: { name: string; headers: OutgoingHttpHeaders; size: number; packet: ClientRequest }[] = []

async function beginMany({ nodes, clients, size, part }: Extract<Task, { task: 'begin' }>): Promise<void> {
  const bytes = Buffer.alloc(part, 'x')
  const one = async (_: unknown, i: number): Promise<void> => {
    const name = randomUUID()
    const url = `${nodes[i % nodes.length]}${name}`
    const headers = { ...(await create(url)), ...range(0, size, size) }
    const packet = begin(url, 'Fragment', { ...headers, 'Content-Length': size })
    packet.on('error', () => {})
    packet.write(bytes)
    open.push({ name, headers, size, packet })
  }
  await Promise.all(Array.from({ length: clients }, one))
}

/** @returns the seconds until each response */
async function repeat({ node }: Extract<Task, { task: 'repeat' }>): Promise<number[]> {
  const startedAt = performance.now()
  const repeated = open.map(async ({ name, headers, size }) => {
    await send(`${node}${name}`, 'Fragment', headers, Buffer.alloc(size, 'x'))
    return (performance.now() - startedAt) / 1000
  })
  return Promise.all(repeated)
}

async function end(): Promise<void> {
  for (const { packet } of open) packet.destroy()
  open = []
}

handleRequests<Task>(async (task) => {
  if (task.task === 'upload') return upload(task)
  if (task.task === 'begin') return beginMany(task)
  if (task.task === 'repeat') return repeat(task)
  return end()
})
