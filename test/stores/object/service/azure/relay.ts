import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Loss {
  /** How many bytes of the answer still arrive. Default: 0 */
  readonly after?: number
  /** What happens between the answer and the loss. */
  readonly meanwhile?: () => Promise<unknown>
}

/** A line to a server, which may break. */
export interface Relay {
  readonly url: URL
  /** Loses the answer to the next request that begins so: the connection is closed, the server has done its work. */
  lose(request: RegExp, loss?: Loss): void
  /** How many answers were lost. */
  lost(): number
}

/** Relays connections to a server, until the test is over. */
export async function relayTo(server: URL): Promise<Relay> {
  let next: (Loss & { readonly request: RegExp }) | undefined
  let lost = 0
  const sockets = new Set<Socket>()

  const listener = createServer((near) => {
    const far = connect(Number(server.port), server.hostname)
    let losing: Loss | undefined
    let answered = 0
    near.on('data', (chunk: Buffer) => {
      if (next?.request.test(chunk.toString('latin1'))) {
        losing = next
        next = undefined
        answered = 0
      }
      far.write(chunk)
    })
    far.on('data', async (chunk: Buffer) => {
      answered += chunk.length
      if (!losing || answered <= (losing.after ?? 0)) {
        near.write(chunk)
        return
      }
      const { meanwhile } = losing
      far.destroy()
      await meanwhile?.()
      lost += 1
      near.destroySoon()
    })
    for (const [socket, other] of [
      [near, far],
      [far, near],
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
