import type { Agent } from 'node:http'
import type { ConnectionOptions } from 'node:tls'
import { http, https } from '../builtins.ts'

/** Options of Node's `tls.connect`: `ca`, `cert`, `key`, `pfx`, `rejectUnauthorized` and others. */
export type TlsOptions = ConnectionOptions

/** Options of the client certificate. */
const certificateOptions = ['cert', 'key', 'passphrase', 'pfx'] as const

/**
 * Kept connections, for one request at a time on each. Uploads with the same `tls` options may share them: nothing of
 * this protocol belongs to a connection, neither a session nor credentials.
 */
export class Connections {
  readonly #tls: TlsOptions
  readonly #plain = new http.Agent({ keepAlive: true })
  /** Created when they are needed, because `node:https` takes time to load. */
  #secure: Agent | undefined
  #crossOrigin: Agent | undefined

  constructor(tls: TlsOptions) {
    this.#tls = tls
  }

  /** @param crossOrigin the server gets no client certificate */
  agentFor(url: URL, crossOrigin: boolean): Agent {
    if (url.protocol !== 'https:') return this.#plain
    if (!crossOrigin) {
      this.#secure ??= new (https().Agent)({ ...this.#tls, keepAlive: true })
      return this.#secure
    }
    const others = Object.entries(this.#tls).filter(
      ([name]) => !(certificateOptions as readonly string[]).includes(name),
    )
    this.#crossOrigin ??= new (https().Agent)({ ...Object.fromEntries(others), keepAlive: true })
    return this.#crossOrigin
  }

  /** Closes the connections without a request: the next request gets a new one. */
  closeIdle(): void {
    for (const { freeSockets } of this.#all()) {
      for (const socket of Object.values(freeSockets).flat()) socket?.destroy()
    }
  }

  /** Closes all connections. */
  close(): void {
    for (const agent of this.#all()) agent.destroy()
  }

  #all(): readonly Agent[] {
    return [this.#plain, this.#secure, this.#crossOrigin].filter((agent) => agent !== undefined)
  }
}
