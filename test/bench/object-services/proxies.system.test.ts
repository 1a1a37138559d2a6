import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect, createServer as createTcpServer, type Server } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'

/** Starts a program of this directory in front of a server. */
async function startBefore(server: Server, program: string, ...args: string[]) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const path = fileURLToPath(new URL(`./${program}.ts`, import.meta.url))
  const { port } = server.address() as AddressInfo
  const child: ChildProcess = fork(path, [String(port), ...args], { execArgv: ['--import', 'tsx'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [ownPort] = await once(child, 'message')
  return { port: ownPort as number, child }
}

describe('The relay with a delay', () => {
  const echo = () => createTcpServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket))

  test('delays the opening and each round trip by the given time', async () => {
    const { port } = await startBefore(echo(), 'delay-relay', '40')
    const socket = connect(port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    await once(socket, 'connect')
    for (const expected of [80, 40]) {
      const startedAt = performance.now()
      socket.write('a')
      await once(socket, 'data')
      // A timer may end a millisecond early.
      expect(performance.now() - startedAt).toBeGreaterThan(expected - 5)
    }
  })

  test('forwards more bytes than it queues, in order, and the end of the connection', async () => {
    const { port } = await startBefore(echo(), 'delay-relay', '2')
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    const bytes = Buffer.alloc(20_000_000, 'the bytes of a large body, 37 at once')
    socket.end(bytes)
    expect((await buffer(socket)).equals(bytes)).toBe(true)
  })
})

describe('The counting proxy', () => {
  test('forwards requests unchanged and counts them by method and operation', async () => {
    const target = createServer(async (incoming, response) => {
      const body = await buffer(incoming)
      response.writeHead(201, { 'X-Host': incoming.headers.host, 'X-Url': incoming.url })
      response.end(body)
    })
    const { port, child } = await startBefore(target, 'counting-proxy')
    const send = async (method: string, path: string, body: string) => {
      const outgoing = request({ port, host: '127.0.0.1', method, path, headers: { Host: 'signed:1' } })
      outgoing.end(body)
      const [response] = await once(outgoing, 'response')
      return { status: response.statusCode, headers: response.headers, body: String(await buffer(response)) }
    }
    expect(await send('PUT', '/a%20b?partNumber=1&uploadId=x&x-id=UploadPart', 'bytes')).toMatchObject({
      status: 201,
      headers: { 'x-host': 'signed:1', 'x-url': '/a%20b?partNumber=1&uploadId=x&x-id=UploadPart' },
      body: 'bytes',
    })
    await send('PUT', '/c/b?comp=block&blockid=1', '')
    await send('PUT', '/c/b?comp=block&blockid=2', '')
    await send('PUT', '/a', '')
    child.send('read')
    expect((await once(child, 'message'))[0]).toEqual({
      'PUT ?partNumber&uploadId': 1,
      'PUT ?comp=block': 2,
      PUT: 1,
    })
  })
})
