import type { ServerResponse } from 'node:http'
import { FragmentBody } from '../http/fragment-body.ts'
import { absoluteUrl, disconnectedError, type MountedRequest, requestTarget } from '../http/request.ts'
import { lengthOf } from '../protocol/content-range.ts'
import { decodePath } from '../protocol/name.ts'
import type { Packet } from '../protocol/packet.ts'
import type { PacketContext } from '../sessions/context.ts'

/**
 * The request of one packet, until its Ack is sent. It holds all data that lives as long as the packet, because a server
 * may have thousands whose bodies are still arriving, and it creates on demand: an AbortSignal takes most of a kilobyte.
 */
export class RequestContext<Caller extends MountedRequest> implements PacketContext<Caller> {
  readonly caller: Caller
  readonly response: ServerResponse
  owner: string | undefined
  path = ''
  readonly #idleTimeout: number
  readonly #startedAt = Date.now()
  #controller: AbortController | undefined
  #abortReason: Error | undefined
  #body: FragmentBody | undefined
  #length = 0

  /** @param idleTimeout milliseconds without a byte after which the body ends with `timeout` */
  constructor(caller: Caller, response: ServerResponse, idleTimeout: number) {
    this.caller = caller
    this.response = response
    this.#idleTimeout = idleTimeout
    response.on('close', this.#onClose)
  }

  get url(): string {
    return absoluteUrl(this.caller)
  }

  get clientAddress(): string | undefined {
    return this.caller.ip ?? this.caller.socket.remoteAddress
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#abortReason) this.#controller.abort(this.#abortReason)
    return this.#controller.signal
  }

  name(): string {
    return decodePath(this.caller.url ?? '').slice(1)
  }

  body(): FragmentBody {
    const length = this.#length
    this.#body = new FragmentBody(this.caller, { length, idleTimeout: this.#idleTimeout })
    if (this.#abortReason) this.#body.interrupt(this.#abortReason)
    return this.#body
  }

  /**
   * Sets what the packet says: its owner, its path, the length of its body.
   * @throws {BitsError} `invalid-destination`
   */
  bind(packet: Packet, owner: string | undefined): void {
    if (packet.type === 'Fragment') this.#length = lengthOf(packet.range)
    this.owner = owner
    this.path = decodePath(requestTarget(this.caller))
  }

  /** Ends all work for the packet, because no client waits for its Ack, or the server stops. */
  abort(reason: Error): void {
    this.#abortReason ??= reason
    this.#controller?.abort(reason)
    this.#body?.interrupt(reason)
  }

  /** Removes the listener, before the Ack is sent. */
  detach(): void {
    this.response.off('close', this.#onClose)
  }

  readonly #onClose = (): void => this.abort(disconnectedError(this.caller, this.#startedAt))
}
