import { createServer } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { drainResponse, PacketClient } from '../../lib/client/packet-client.ts'
import { HttpTransport } from '../../lib/client/transport.ts'
import { listenRaw } from './fake-server.ts'

const auth = { user: 'me', password: 'open sesame' }
const headers = [['X-Token', 'secret']] as const
const basic = `Basic ${Buffer.from('me:open sesame').toString('base64')}`

/** A server that sends these responses, and a client whose destination it is. */
async function scene(...responses: string[]) {
  const heads: string[] = []
  const url = await listenRaw(
    createServer((socket) =>
      socket
        .on('error', () => {})
        .on('data', (chunk) => {
          heads.push(String(chunk))
          socket.write(responses.shift() ?? '')
        }),
    ),
  )
  const transport = new HttpTransport({ tls: {}, sendTimeout: 5000, responseTimeout: 5000 }, undefined)
  onTestFinished(() => transport.close())
  const extras = { name: undefined, headers }
  return { client: new PacketClient(transport, { destination: url, extras, auth }), url, heads }
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'
const challenge = 'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\n'

describe('PacketClient.exchange', () => {
  it('passes responses that send() throws for', async () => {
    const { client, url } = await scene('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nNo')
    const response = await client.exchange({ packet: { type: 'Ping' }, url }, drainResponse)
    expect(response).toMatchObject({ status: 403, bodyLength: 2 })
  })

  it('sends POST with X-HTTP-Method-Override with the method style override', async () => {
    const { client, url, heads } = await scene(ok)
    await client.exchange({ packet: { type: 'Ping' }, url, methodStyle: 'override' }, drainResponse)
    expect(heads[0]).toMatch(/^POST \/ HTTP\/1\.1\r\n/)
    expect(heads[0]).toContain('\r\nX-HTTP-Method-Override: BITS_POST\r\nX-Token: secret\r\n')
  })

  it('sends HEAD with credentials after a challenge without Content-Length', async () => {
    const { client, url, heads } = await scene(
      `${challenge}\r\n`,
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n',
    )
    const response = await client.exchange({ method: 'HEAD', url, fields: [] }, drainResponse)
    expect(response).toMatchObject({ status: 200, bodyLength: 0 })
    expect(heads).toHaveLength(2)
    expect(heads[1]).toMatch(/^HEAD \/ HTTP\/1\.1\r\n/)
    expect(heads[1]).toContain(`\r\nX-Token: secret\r\nAuthorization: ${basic}\r\n`)
  })

  it('sends neither credentials nor the fields of the caller to another origin', async () => {
    const { client, url, heads } = await scene(`${challenge}Content-Length: 0\r\n\r\n`)
    const response = await client.exchange({ url, fields: [], crossOrigin: true }, drainResponse)
    expect([response.status, heads.length]).toEqual([401, 1])
    expect(heads[0]).not.toMatch(/X-Token|Authorization/)
  })
})
