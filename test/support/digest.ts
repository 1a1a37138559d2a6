import { createHash } from 'node:crypto'

const md5 = (text: string): string => createHash('md5').update(text).digest('hex')

export interface DigestAccount {
  readonly user: string
  readonly password: string
  readonly realm?: string
}

/** The secret of an account, which a server stores instead of the password (RFC 7616, 3.4.2). */
export const secretOf = ({ user, password, realm = 'uploads' }: DigestAccount): string =>
  md5(`${user}:${realm}:${password}`)

/**
 * Signs requests with one challenge of Digest authentication: MD5, qop=auth, and a counter (`nc`) that
 * increases with each request (RFC 7616, 3.4).
 */
export class DigestSigner {
  readonly #nonce: string
  readonly #account: DigestAccount
  readonly #secret: string
  #count = 0

  /**
   * @param challenge the value of WWW-Authenticate
   * @param secret replaces the secret of the account
   */
  constructor(challenge: string, account: DigestAccount, secret = secretOf(account)) {
    this.#nonce = /\bnonce="([^"]+)"/.exec(challenge)?.[1] ?? ''
    this.#account = account
    this.#secret = secret
  }

  /** The value of Authorization for the next request. */
  sign(method: string, uri: string): string {
    const { user, realm = 'uploads' } = this.#account
    this.#count += 1
    const nc = this.#count.toString(16).padStart(8, '0')
    const cnonce = md5(`${this.#nonce}${nc}`)
    const response = md5(`${this.#secret}:${this.#nonce}:${nc}:${cnonce}:auth:${md5(`${method}:${uri}`)}`)
    const fields = [
      `username="${user}"`,
      `realm="${realm}"`,
      `nonce="${this.#nonce}"`,
      `uri="${uri}"`,
      'algorithm=MD5',
      'qop=auth',
      `nc=${nc}`,
      `cnonce="${cnonce}"`,
      `response="${response}"`,
    ]
    return `Digest ${fields.join(', ')}`
  }
}
