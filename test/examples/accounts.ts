/** Test clients that send credentials only after a challenge, as Windows does. */

import { Agent, type ClientRequestArgs } from 'node:http'
import type { Duplex } from 'node:stream'
import { expect } from 'vitest'
import { type Answer, type PacketOptions, TestClient } from '../support/client.ts'
import { type DigestAccount, DigestSigner } from '../support/digest.ts'

export const alice = { user: 'alice', password: 'open sesame' }
export const bob = { user: 'bob', password: 'knock knock' }

class CountingAgent extends Agent {
  connections = 0

  override createConnection(
    options: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    this.connections += 1
    return super.createConnection(options, callback)
  }
}

/** A client on one persistent connection. `agent.connections` counts the connections that it opened. */
export class AccountClient extends TestClient {
  override readonly agent = new CountingAgent({ keepAlive: true, maxSockets: 1 })
  /** Returns the value of Authorization for the next packet. */
  credentials: (() => string) | undefined

  override send(type: string, options: PacketOptions = {}): Promise<Answer> {
    const headers = { ...options.headers, ...(this.credentials && { Authorization: this.credentials() }) }
    return super.send(type, { ...options, headers })
  }

  /** Sends a Ping without credentials, and answers its challenge in all later packets. */
  async signIn({ challenge, answer }: Scheme, account: DigestAccount): Promise<void> {
    this.credentials = answer(expectChallenge(await this.ping(), challenge), account, this.url)
  }
}

/** An authentication scheme of an example. */
export interface Scheme {
  readonly example: string
  /** Matches WWW-Authenticate in the response to a request without credentials. */
  readonly challenge: RegExp
  /** Returns a function that returns Authorization for each packet after this challenge. */
  answer(challenge: string, account: DigestAccount, url: URL): () => string
}

export const basic = (credentials: string): string => `Basic ${Buffer.from(credentials).toString('base64')}`

export const basicScheme: Scheme = {
  example: 'authentication/basic',
  challenge: /^Basic realm="uploads"$/,
  answer(_challenge, { user, password }) {
    return () => basic(`${user}:${password}`)
  },
}

export const digestScheme: Scheme = {
  example: 'authentication/digest',
  challenge: /^Digest realm="uploads", qop="auth", nonce="[0-9a-f]{32}", algorithm=MD5, stale=false$/,
  answer(challenge, account, { pathname }) {
    const signer = new DigestSigner(challenge, account)
    return () => signer.sign('BITS_POST', pathname)
  },
}

/** Expects a 401 that is a plain HTTP response, not an Ack. Returns its challenge. */
export function expectChallenge({ status, headers }: Answer, challenge: RegExp): string {
  expect([status, headers['bits-packet-type']]).toEqual([401, undefined])
  expect(headers['www-authenticate']).toMatch(challenge)
  return String(headers['www-authenticate'])
}
