import { lookup } from 'node:dns/promises'
import { connect, type Socket } from 'node:net'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { type Check, fault, ok, warning } from './context.ts'

/** Name, port and certificate, one after the other: who cannot get there need not look at packets. */
export const connectivity: Check = {
  name: 'the way to the host',
  async *run({ target, settings }) {
    const secure = target.protocol === 'https:'
    const host = target.hostname.replace(/^\[(.*)\]$/, '$1')
    const port = Number(target.port || (secure ? 443 : 80))
    try {
      await lookup(host)
    } catch (error) {
      yield fault(
        `Nobody knows the name ${host} (${networkErrorCode(error)})`,
        'Check its spelling, and the DNS of this machine: nslookup shows what that says. Where the web is reached by a ' +
          'proxy only, this command has to run where it is not.',
      )
      return false
    }
    try {
      await connected(connect({ host, port }), 'connect', settings.sendTimeout)
    } catch (error) {
      yield fault(...unreachable(networkErrorCode(error), `port ${port} of ${host}`))
      return false
    }
    yield ok(`Somebody listens at port ${port} of ${host}`)
    if (!secure) return true

    const { rejectUnauthorized = true } = settings.tls
    let socket: TLSSocket
    try {
      // Names of hosts only: an address is no server name (RFC 6066 3).
      const servername = /^[\d.]+$|:/.test(host) ? '' : host
      socket = await connected(
        tlsConnect({ ...settings.tls, host, port, servername }),
        'secureConnect',
        settings.sendTimeout,
      )
    } catch (error) {
      yield fault(...tlsAdvice(networkErrorCode(error), host))
      return false
    }
    // As an Error in types, and as its code in fact.
    const tlsError = socket.authorizationError as unknown
    if (!rejectUnauthorized && !socket.authorized) {
      const [text, remedy] = tlsAdvice(String(tlsError), host)
      yield warning(`${text}; it was let pass, for --insecure`, remedy)
    } else {
      yield ok(`Its certificate is good for ${host}`)
    }
    return true
  },
}

const networkErrorCode = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code ?? (error as Error).message ?? String(error)

/** A connection that came about, and is ended at once. */
function connected<S extends Socket>(socket: S, event: string, timeout: number): Promise<S> {
  return new Promise((resolve, reject) => {
    socket
      .setTimeout(timeout, () => socket.destroy(Object.assign(new Error('silence'), { code: 'ETIMEDOUT' })))
      .on('error', reject)
      .on('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
      .once(event, () => {
        resolve(socket)
        socket.destroy()
      })
  })
}

function unreachable(code: string, where: string): [text: string, remedy: string] {
  if (code === 'ECONNREFUSED') {
    return [
      `Nobody listens at ${where} (${code})`,
      'Does the server run, on this port, and for other machines too, not for localhost only? Is the port in the URL right?',
    ]
  }
  return [
    `${where} cannot be reached (${code})`,
    'Something drops the connection: a firewall, a route, or a machine that is off. Try it from the same network.',
  ]
}

const WrongName = 'ERR_TLS_CERT_ALTNAME_INVALID'

function tlsAdvice(code: string, host: string): [text: string, remedy: string] {
  if (code === WrongName) {
    return [
      `The certificate is not for the name ${host} (${code})`,
      'Use the name that it was made for, or get one that has this name as a subjectAltName.',
    ]
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return [
      `The certificate is ${code === 'CERT_HAS_EXPIRED' ? 'out of date' : 'not valid yet'} (${code})`,
      'Renew it, or set the clocks right.',
    ]
  }
  if (/SELF_SIGNED|UNABLE_TO|CERT_UNTRUSTED|INVALID_CA/.test(code)) {
    return [
      `The certificate is signed by nobody whom this machine trusts (${code})`,
      'Say --cacert FILE with who signed it, or the certificate itself if it signed itself; let the server send the ' +
        "certificates in between, too. Windows has to trust it as well: put it under the computer's trusted root authorities.",
    ]
  }
  if (/WRONG_VERSION|PACKET_LENGTH|EPROTO/.test(code)) {
    return [`It does not speak TLS (${code})`, 'Use http:// in the URL, or the port of https.']
  }
  return [
    `No secure connection comes about (${code})`,
    'Let server and clients have a version of TLS in common. If the server wants a certificate of its client: --cert and --key.',
  ]
}
