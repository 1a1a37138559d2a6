import type { ServerResponse } from 'node:http'
import { FragmentBody } from '../http/fragment-body.ts'
import { absoluteUrl, disconnectedError, type MountedRequest, requestTarget } from '../http/request.ts'
import { lengthOf } from '../protocol/content-range.ts'
import { decodePath } from '../protocol/name.ts'
import type { Packet } from '../protocol/packet.ts'
import type { PacketContext } from '../sessions/context.ts'
import type { PacketContent } from '../sessions/sessions.ts'

/**
 * A packet on its way to its Ack. It holds all that lives as long as the packet, because a server may have thousands
 * whose bytes are still coming; and it makes only what is asked for: an AbortSignal alone is most of a kilobyte.
 */
export class RequestContext<Caller extends MountedRequest> implements PacketContext<Caller>, PacketContent {
  readonly caller: Caller
  readonly response: ServerResponse
  readonly #idleTimeout: number
  readonly #startedAt = Date.now()
  #controller: AbortController | undefined
  #reason: Error | undefined
  #body: FragmentBody | undefined
  #owner: string | undefined
  #path = ''
  #length = 0

  /** @param idleTimeout milliseconds that the body may be silent */
  constructor(caller: Caller, response: ServerResponse, idleTimeout: number) {
    this.caller = caller
    this.response = response
    this.#idleTimeout = idleTimeout
    response.on('close', this.#onClose)
  }

  get owner(): string | undefined {
    return this.#owner
  }

  get path(): string {
    return this.#path
  }

  get url(): string {
    return absoluteUrl(this.caller)
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#reason) this.#controller.abort(this.#reason)
    return this.#controller.signal
  }

  name(): string {
    return decodePath(this.caller.url ?? '').slice(1)
  }

  body(): FragmentBody {
    const length = this.#length
    const body = new FragmentBody(this.caller, { length, idleTimeout: this.#idleTimeout })
    if (this.#reason) body.interrupt(this.#reason)
    this.#body = body
    return body
  }

  /**
   * Learns who sent the packet, and finds out where to.
   * @throws {BitsError} `invalid-destination`
   */
  bind(packet: Packet, owner: string | undefined): void {
    if (packet.type === 'Fragment') this.#length = lengthOf(packet.range)
    this.#owner = owner
    this.#path = decodePath(requestTarget(this.caller))
  }

  /** Nobody waits for the Ack any more, or is to wait: whatever is still being done for it may end. */
  abort(reason: Error): void {
    this.#reason ??= reason
    this.#controller?.abort(reason)
    this.#body?.interrupt(reason)
  }

  /** From here on the connection is the answer's. */
  detach(): void {
    this.response.off('close', this.#onClose)
  }

  readonly #onClose = (): void => this.abort(disconnectedError(this.caller, this.#startedAt))
}
