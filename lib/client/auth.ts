import { createHash, randomBytes } from 'node:crypto'

/** A user of the server, for Basic or Digest, whichever it asks for. */
export interface Credentials {
  /** Without colon. */
  readonly user: string
  readonly password: string
}

interface Challenge {
  /** In lower case. */
  readonly scheme: string
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>
}

/** The value of the header field `Authorization` for a request. */
type Authorize = (method: string, target: string) => string

// A word alone begins a challenge, one with a value belongs to it (RFC 9110 11.6.1).
const word = /([\w!#$%&'*+.^`|~-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/g

/** The challenges in a value of `WWW-Authenticate`, which may be several fields joined. */
function readChallenges(value: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = []
  for (const [, name = '', quoted, plain] of value.matchAll(word)) {
    const text = quoted?.replace(/\\(.)/g, '$1') ?? plain
    if (text === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: {} })
    else Object.assign(challenges.at(-1)?.parameters ?? {}, { [name.toLowerCase()]: text })
  }
  return challenges
}

/**
 * Answers the challenges of one server. Nothing is sent before one came (sdk-api: SetCredentials), and from then on
 * with every packet, for a fragment that is refused first is sent twice.
 */
export class Authenticator {
  readonly #credentials: Credentials
  #authorize: Authorize | undefined

  constructor(credentials: Credentials) {
    this.#credentials = credentials
  }

  /** What to send with a request; undefined as long as nobody asked. */
  authorization(method: string, target: string): string | undefined {
    return this.#authorize?.(method, target)
  }

  /**
   * Takes note of a 401. Whether the request is worth sending again: not if these credentials were refused, and not if
   * the server wants none of the schemes known here.
   */
  challenged(wwwAuthenticate: string | undefined, used: boolean): boolean {
    const challenges = readChallenges(wwwAuthenticate ?? '')
    const digests = challenges.filter(
      ({ scheme, parameters }) => scheme === 'digest' && algorithmOf(parameters) && offersAuth(parameters),
    )
    // The strongest that is offered.
    const digest =
      digests.find(({ parameters }) => algorithmOf(parameters) === 'sha256') ?? digests.find(() => true)
    if (used && digest?.parameters.stale?.toLowerCase() !== 'true') return false
    if (digest) this.#authorize = digestAuthorize(this.#credentials, digest.parameters)
    else if (challenges.some(({ scheme }) => scheme === 'basic')) this.#authorize = basic(this.#credentials)
    else return false
    return true
  }
}

const basic = ({ user, password }: Credentials): Authorize => {
  const value = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  return () => value
}

const algorithms: Readonly<Record<string, string>> = { md5: 'md5', 'sha-256': 'sha256' }

/** As `node:crypto` names it; undefined for those not known here. */
const algorithmOf = ({ algorithm = 'MD5' }: Challenge['parameters']): string | undefined =>
  algorithms[algorithm.toLowerCase().replace(/-sess$/, '')]

/** `auth-int` alone would take the body's hash before its first byte is sent. */
const offersAuth = ({ qop }: Challenge['parameters']): boolean =>
  qop === undefined || qop.split(',').some((value) => value.trim().toLowerCase() === 'auth')

/** RFC 7616, and RFC 2069 for servers that offer no `qop`. */
function digestAuthorize({ user, password }: Credentials, parameters: Challenge['parameters']): Authorize {
  const { realm = '', nonce = '', opaque, qop, algorithm } = parameters
  const hash = (text: string): string =>
    createHash(algorithmOf(parameters) ?? 'md5')
      .update(text)
      .digest('hex')
  const ofSession = /-sess$/i.test(algorithm ?? '')
  // One for all requests: with -sess some servers reckon with that of the first, others with that of each.
  const cnonce = randomBytes(16).toString('hex')
  const secret = hash(`${user}:${realm}:${password}`)
  const a1 = ofSession ? hash(`${secret}:${nonce}:${cnonce}`) : secret
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

/** A quoted string; header fields are Latin-1, so what lies beyond goes as the bytes of its UTF-8. */
const quote = (text: string): string => {
  const beyond = /[^\0-\x7f]/.test(text)
  const field = beyond ? Buffer.from(text).toString('latin1') : text
  return `"${field.replace(/["\\]/g, '\\$&')}"`
}
