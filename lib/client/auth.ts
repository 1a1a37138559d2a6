import { createHash, randomBytes } from 'node:crypto'

/** A user of the server, for Basic or Digest authentication. */
export interface Credentials {
  /** Name of the user. It must not contain a colon. */
  readonly user: string
  /** Password of the user. */
  readonly password: string
}

interface Challenge {
  /** In lower case. */
  readonly scheme: string
  /** The names are in lower case. */
  readonly parameters: Readonly<Record<string, string>>
}

/** Returns the value of the header field `Authorization` for a request. */
type Authorize = (method: string, target: string) => string

// A token alone begins a challenge; a token with a value is a parameter of it (RFC 9110 11.6.1).
const challengeToken = /([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g

/** Parses a value of `WWW-Authenticate`, which may be several joined fields. */
function readChallenges(value: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = []
  for (const [, name = '', quoted, plain] of value.matchAll(challengeToken)) {
    const text = quoted?.replace(/\\(.)/g, '$1') ?? plain
    if (text === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: {} })
    else Object.assign(challenges.at(-1)?.parameters ?? {}, { [name.toLowerCase()]: text })
  }
  return challenges
}

/**
 * Answers the challenges of one server. Credentials are sent only after a challenge (sdk-api:
 * SetCredentials), and then with every packet, because a fragment that is refused with 401 is sent twice.
 */
export class Authenticator {
  readonly #credentials: Credentials
  #authorize: Authorize | undefined

  constructor(credentials: Credentials) {
    this.#credentials = credentials
  }

  /** The value of `Authorization` for a request; undefined before the first usable challenge. */
  authorization(method: string, target: string): string | undefined {
    return this.#authorize?.(method, target)
  }

  /**
   * Processes a 401.
   * @param credentialsSent whether the request had credentials
   * @returns whether to send the request again: not if the credentials were refused, nor if the server
   *   accepts neither Basic nor a supported Digest
   */
  challenged(wwwAuthenticate: string | undefined, credentialsSent: boolean): boolean {
    const challenges = readChallenges(wwwAuthenticate ?? '')
    const digests = challenges.filter(
      ({ scheme, parameters }) => scheme === 'digest' && algorithmOf(parameters) && offersAuth(parameters),
    )
    // The stronger algorithm, if both are offered.
    const digest = digests.find(({ parameters }) => algorithmOf(parameters) === 'sha256') ?? digests[0]
    if (credentialsSent && digest?.parameters.stale?.toLowerCase() !== 'true') return false
    if (digest) this.#authorize = digestAuthorize(this.#credentials, digest.parameters)
    else if (challenges.some(({ scheme }) => scheme === 'basic'))
      this.#authorize = basicAuthorize(this.#credentials)
    else return false
    return true
  }
}

const basicAuthorize = ({ user, password }: Credentials): Authorize => {
  const value = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  return () => value
}

/** Names in `node:crypto`, by the name of RFC 7616 in lower case. */
const algorithms: Readonly<Record<string, string>> = { md5: 'md5', 'sha-256': 'sha256' }

/** The name of the hash in `node:crypto`; undefined if it is not supported. */
const algorithmOf = ({ algorithm = 'MD5' }: Challenge['parameters']): string | undefined =>
  algorithms[algorithm.toLowerCase().replace(/-sess$/, '')]

/** `auth-int` is not supported: it needs the hash of the body before the first byte is sent. */
const offersAuth = ({ qop }: Challenge['parameters']): boolean =>
  qop === undefined || qop.split(',').some((value) => value.trim().toLowerCase() === 'auth')

/** Digest of RFC 7616, and of RFC 2069 for servers that offer no `qop`. */
function digestAuthorize({ user, password }: Credentials, parameters: Challenge['parameters']): Authorize {
  const { realm = '', nonce = '', opaque, qop, algorithm } = parameters
  const hash = (text: string): string =>
    createHash(algorithmOf(parameters) ?? 'md5')
      .update(text)
      .digest('hex')
  const isSessionVariant = /-sess$/i.test(algorithm ?? '')
  // One cnonce for all requests: with -sess some servers use that of the first request, others that of each.
  const cnonce = randomBytes(16).toString('hex')
  const userHash = hash(`${user}:${realm}:${password}`)
  const a1 = isSessionVariant ? hash(`${userHash}:${nonce}:${cnonce}`) : userHash
  let count = 0
  return (method, target) => {
    count += 1
    const nc = count.toString(16).padStart(8, '0')
    const a2 = hash(`${method}:${target}`)
    const response = hash(
      qop === undefined ? `${a1}:${nonce}:${a2}` : `${a1}:${nonce}:${nc}:${cnonce}:auth:${a2}`,
    )
    const fields = [
      `username=${quote(user)}`,
      `realm=${quote(realm)}`,
      `nonce=${quote(nonce)}`,
      `uri=${quote(target)}`,
      `response="${response}"`,
      ...(algorithm === undefined ? [] : [`algorithm=${algorithm}`]),
      ...(opaque === undefined ? [] : [`opaque=${quote(opaque)}`]),
      ...(qop === undefined ? [] : ['qop=auth', `nc=${nc}`, `cnonce="${cnonce}"`]),
    ]
    return `Digest ${fields.join(', ')}`
  }
}

/**
 * Formats a quoted string. Header fields are Latin-1, so text beyond ASCII is sent as the bytes of its UTF-8.
 */
const quote = (text: string): string => {
  const isAscii = /^[\0-\x7f]*$/.test(text)
  const field = isAscii ? text : Buffer.from(text).toString('latin1')
  return `"${field.replace(/["\\]/g, '\\$&')}"`
}
