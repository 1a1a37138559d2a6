import { isAck } from '../../client/ack.ts'
import { UploadError } from '../../client/errors.ts'
import { field } from '../../protocol/headers.ts'
import { printable } from '../format.ts'
import { ackFormat } from './ack-format.ts'
import { type Check, type CheckContext, fault, ok, warning } from './context.ts'
import { explain, formatResponse } from './explain.ts'
import { isSuccessAck, NoResponse, orNoResponse, type RawResponse } from './prober.ts'

const methodAdvice =
  'Allow the method BITS_POST in the proxy or firewall: request filtering or UrlScan of IIS, the rules of a firewall or of ' +
  'a load balancer; nginx passes it on unchanged. Or let the proxy send POST with X-HTTP-Method-Override: BITS_POST.'

/** Ping: whether a BITS server answers. If not, a Ping as POST shows whether a proxy refuses the method. */
export const method: Check = {
  name: 'Ping',
  async *run(context) {
    const first = await ping(context)
    if (!(first instanceof NoResponse) && isSuccessAck(first)) {
      yield ok('A BITS server answers Ping')
      yield* context.unreported(ackFormat(first))
      return yield* keptConnection(context, first)
    }
    const outcome =
      first instanceof NoResponse ? `not answered: ${first.message}` : `answered ${formatResponse(first)}`
    if (first instanceof NoResponse && isTlsFault(first)) {
      yield fault(
        `Ping is ${outcome}`,
        /client certificate/.test(first.message) ? certificateAdvice : urlAdvice,
      )
      return false
    }
    const folder = await findFolder(context, first)
    if (folder !== undefined) {
      yield fault(
        `No BITS server answers at ${printable(context.url.href)}, where the upload belongs to the folder above; with a slash at its end it does`,
        `Write the slash at the end of the URL of a folder: ${printable(folder.url.href)}`,
      )
      return yield* keptConnection(context, folder.answer)
    }
    if (!(first instanceof NoResponse) && (isAck(first.headers) || isSelfExplaining(first))) {
      const { reason, remedy } = explain(first)
      yield fault(`Ping is ${outcome}: ${reason}`, remedy)
      return false
    }
    context.prober.methodStyle = 'override'
    const second = await ping(context)
    if (!(second instanceof NoResponse) && isAck(second.headers)) {
      yield fault(
        `Ping as BITS_POST is ${outcome}, as POST with X-HTTP-Method-Override it is answered ${formatResponse(second)}: a proxy or firewall refuses the method`,
        methodAdvice,
      )
      return isSuccessAck(second)
    }
    if (first instanceof NoResponse) {
      yield fault(
        `Ping is ${outcome}`,
        'Is this the port of another protocol, for example of https? A firewall that closes connections with an unknown ' +
          'method looks the same. See the logs on both sides.',
      )
    } else {
      const { reason, remedy } = explain(first)
      yield fault(`Ping is ${outcome}: ${reason}`, remedy)
    }
    return false
  },
}

const certificateAdvice =
  'Pass --cert FILE and --key FILE with a certificate that the server trusts. Under TLS 1.3 the server checks it only after ' +
  'the handshake, so that the connection seems to succeed. On Windows: Start-BitsTransfer -CertStoreLocation CURRENT_USER ' +
  '-CertStoreName MY -CertHash ….'
const urlAdvice = 'Correct the scheme or the port of the URL.'

/** Whether the TLS connection is the cause; the method is not. */
const isTlsFault = ({ cause, message }: NoResponse): boolean =>
  (cause instanceof UploadError && cause.code === 'tls-failed') || message.includes('client certificate')

/**
 * Sends Ping to the folder that the URL names if a slash is added, and moves the probe upload there if a BITS
 * server answers. Without the slash the probe upload is beside that folder.
 */
async function findFolder(
  context: CheckContext,
  first: RawResponse | NoResponse,
): Promise<{ readonly url: URL; readonly answer: RawResponse } | undefined> {
  const { url, target } = context
  if (url.pathname.endsWith('/') || first instanceof NoResponse || isAck(first.headers)) return undefined
  const folder = new URL(url)
  folder.pathname += '/'
  context.moveTo(folder)
  const answer = await ping(context)
  if (!(answer instanceof NoResponse) && isSuccessAck(answer)) return { url: folder, answer }
  context.moveTo(target)
  return undefined
}

const ping = (context: CheckContext): Promise<RawResponse | NoResponse> =>
  orNoResponse(context.send({ type: 'Ping' }))

/**
 * Whether the status is reason enough, from any server: redirections, requests for credentials, and a missing
 * Content-Length. A Ping as POST would have one, because proxies that remove it from BITS_POST keep it there.
 */
const isSelfExplaining = ({ status }: RawResponse): boolean =>
  (status >= 300 && status <= 399) || [401, 407, 411].includes(status)

async function* keptConnection(context: CheckContext, first: RawResponse) {
  // HTTP/1.0 closes connections by default.
  if (first.httpVersion !== '1.1') return true
  const second = await context.send({ type: 'Ping' })
  if ([first, second].every(({ headers }) => /\bclose\b/i.test(field(headers, 'connection') ?? ''))) {
    yield warning(
      'Every answer closes the connection (Connection: close)',
      'Each packet then needs another handshake, and Negotiate and NTLM cannot authenticate. Keep connections open: Node ' +
        'does so by default (server.keepAliveTimeout), nginx with keepalive_timeout.',
    )
  } else {
    yield ok('The connection is kept for the next packet')
  }
  return true
}
