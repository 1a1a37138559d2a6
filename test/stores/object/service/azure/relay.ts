import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Loss {
  /** Number of bytes of the response that still arrive. Default: 0 */
  readonly after?: number
  /** Awaited between the response of the server and the loss. */
  readonly meanwhile?: () => Promise<unknown>
}

/** A proxy on TCP level that can close connections. */
export interface Relay {
  readonly url: URL
  /** Closes the connection of the next request that matches, after the server has processed it. */
  lose(request: RegExp, loss?: Loss): void
  /** Number of responses that were lost. */
  lost(): number
}

/** Relays connections to a server until the end of the test. */
export async function relayTo(server: URL): Promise<Relay> {
  let next: (Loss & { readonly request: RegExp }) | undefined
  let lost = 0
  const sockets = new Set<Socket>()

  const listener = createServer((client) => {
    const upstream = connect(Number(server.port), server.hostname)
    let losing: Loss | undefined
    let responseBytes = 0
    client.on('data', (chunk: Buffer) => {
      if (next?.request.test(chunk.toString('latin1'))) {
        losing = next
        next = undefined
        responseBytes = 0
      }
      upstream.write(chunk)
    })
    upstream.on('data', async (chunk: Buffer) => {
      responseBytes += chunk.length
      if (!losing || responseBytes <= (losing.after ?? 0)) {
        client.write(chunk)
        return
      }
      const { meanwhile } = losing
      upstream.destroy()
      await meanwhile?.()
      lost += 1
      client.destroySoon()
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        if (!losing) other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    url: new URL(`http://127.0.0.1:${(listener.address() as AddressInfo).port}`),
    lose(request, loss = {}) {
      next = { ...loss, request }
    },
    lost: () => lost,
  }
}
