import { lookup } from 'node:dns/promises'
import { connect, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { tls } from '../../builtins.ts'
import { NoTls, tlsFault } from '../../client/tls-fault.ts'
import { type Check, fault, ok, warning } from './context.ts'

/** Name, port and certificate, in this order. */
export const connectivity: Check = {
  name: 'connectivity',
  async *run({ target, settings }) {
    const secure = target.protocol === 'https:'
    const host = target.hostname.replace(/^\[(.*)\]$/, '$1')
    const port = Number(target.port || (secure ? 443 : 80))
    try {
      await lookup(host)
    } catch (error) {
      yield fault(
        `Cannot resolve ${host} (${networkErrorCode(error)})`,
        'Check the spelling, and the DNS of this machine with nslookup. If this machine reaches the web only through a ' +
          'proxy, run this command on a machine that does not need one.',
      )
      return false
    }
    try {
      await connected(connect({ host, port }), 'connect', settings.sendTimeout)
    } catch (error) {
      yield fault(...connectAdvice(networkErrorCode(error), `Port ${port} of ${host}`))
      return false
    }
    yield ok(`Port ${port} of ${host} accepts connections`)
    if (!secure) return true

    const { rejectUnauthorized = true } = settings.tls
    let socket: TLSSocket
    try {
      // A server name must not be an IP address (RFC 6066 3).
      const servername = /^[\d.]+$|:/.test(host) ? '' : host
      socket = await connected(
        tls().connect({ ...settings.tls, host, port, servername }),
        'secureConnect',
        settings.sendTimeout,
      )
    } catch (error) {
      yield fault(...handshakeAdvice(error, host, Boolean(settings.tls.cert ?? settings.tls.pfx)))
      return false
    }
    // The types say Error; at run time it is the code of the error.
    const tlsError = socket.authorizationError as unknown
    if (!rejectUnauthorized && !socket.authorized) {
      const [text, remedy] = tlsAdvice(String(tlsError), host)
      yield warning(`${text}; ignored because of --insecure`, remedy)
    } else {
      yield ok(`The certificate is valid for ${host}`)
    }
    return true
  },
}

const networkErrorCode = (error: unknown): string =>
  (error as NodeJS.ErrnoException).code ?? (error as Error).message ?? String(error)

/** Resolves when the connection is made, and closes it. */
function connected<S extends Socket>(socket: S, event: string, timeout: number): Promise<S> {
  return new Promise((resolve, reject) => {
    socket
      .setTimeout(timeout, () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })))
      .on('error', reject)
      .on('close', () => reject(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
      .once(event, () => {
        resolve(socket)
        socket.destroy()
      })
  })
}

function connectAdvice(code: string, where: string): [text: string, remedy: string] {
  if (code === 'ECONNREFUSED') {
    return [
      `${where} refuses connections (${code})`,
      'Does the server run, on this port, and for other machines too, not only for localhost? Is the port in the URL correct?',
    ]
  }
  return [
    `${where} cannot be reached (${code})`,
    'The cause may be a firewall, a missing route, or a machine that is switched off. Try from the network of the server.',
  ]
}

/** Advice for a handshake that failed. */
function handshakeAdvice(
  error: unknown,
  host: string,
  hasCertificate: boolean,
): [text: string, remedy: string] {
  const code = networkErrorCode(error)
  const reason = tlsFault(error, { connected: false, hasCertificate, certificateRequested: false })
  if (reason === undefined) return tlsAdvice(code, host)
  if (reason === NoTls) {
    return [`The server does not speak TLS (${code})`, 'Use http:// in the URL, or the port of https.']
  }
  return [
    `The TLS handshake failed (${code}): ${reason}`,
    'Client certificate: --cert and --key. Versions and ciphers: those of the server must include TLS 1.2 or 1.3.',
  ]
}

const WrongName = 'ERR_TLS_CERT_ALTNAME_INVALID'

function tlsAdvice(code: string, host: string): [text: string, remedy: string] {
  if (code === WrongName) {
    return [
      `The certificate is not for the name ${host} (${code})`,
      'Use a name that the certificate contains, or get a certificate with this name as a subjectAltName.',
    ]
  }
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return [
      `The certificate ${code === 'CERT_HAS_EXPIRED' ? 'has expired' : 'is not valid yet'} (${code})`,
      'Renew it, or correct the clock of this machine.',
    ]
  }
  if (/SELF_SIGNED|UNABLE_TO|CERT_UNTRUSTED|INVALID_CA/.test(code)) {
    return [
      `The certificate is signed by an authority that Node does not trust (${code})`,
      'Node has a list of authorities of its own. Pass --cacert FILE with the certificate of the authority, or with the ' +
        'certificate itself if it is self-signed; the server must also send the intermediate certificates. Windows must ' +
        'trust it too: add it to the trusted root authorities of the computer.',
    ]
  }
  return [
    `The TLS handshake failed (${code})`,
    'Server and clients need a common version of TLS. If the server asks for a client certificate: --cert and --key.',
  ]
}
