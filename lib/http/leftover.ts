import type { IncomingMessage } from 'node:http'

/** What may be read and thrown away of one body: more than the largest fragment of a Windows client, 13 MB. */
const MaxBytes = 16 * 1024 * 1024
/** How long its sender may be silent at most, in milliseconds; slow it may be. */
const MaxSilence = 30_000

/**
 * Deals with a body that nobody wants any more: the request was answered before its end. Closing at once would throw
 * the Ack away together with the connection (a peer that is still sending gets a reset and never reads it), and left
 * alone the bytes would stand between this request and the next. So they are read and dropped, within a limit; beyond it
 * the connection is closed.
 *
 * @param idleTimeout milliseconds that its sender may be silent, if fewer than half a minute
 * @param whenOver called when the body has ended; not if the connection does before
 */
export function discardBody(
  request: IncomingMessage,
  idleTimeout: number,
  whenOver: () => void = () => {},
): void {
  if (request.complete || request.destroyed) {
    // All is here already, if there was anything.
    request.resume()
    whenOver()
    return
  }
  const { socket } = request
  let left = MaxBytes
  const stop = (): void => {
    clearTimeout(timer)
    request.off('data', onData).off('end', end)
    socket.off('close', stop)
  }
  const end = (): void => {
    stop()
    whenOver()
  }
  const hangUp = (): void => {
    stop()
    socket.destroy()
  }
  const onData = (chunk: Buffer): void => {
    left -= chunk.length
    if (left < 0) hangUp()
    else timer.refresh()
  }
  const timer = setTimeout(hangUp, Math.min(idleTimeout, MaxSilence)).unref()
  request.on('data', onData).on('end', end).resume()
  socket.on('close', stop)
}
