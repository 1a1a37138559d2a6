import { isAck } from '../../client/ack.ts'
import { isFramed } from '../../client/transport.ts'
import { field } from '../../protocol/headers.ts'
import { type Finding, fault } from './context.ts'
import type { RawResponse } from './prober.ts'

/**
 * Checks the form of an Ack: HTTP/1.1 ([MC-BUP] 2.2.1) and no body (2.2.3 to 2.2.11). Responses that do not
 * come from a BITS server may have any form.
 */
export function* ackFormat({ headers, httpVersion, bodyLength }: RawResponse): Generator<Finding> {
  if (!isAck(headers)) return
  if (httpVersion !== '1.1') {
    yield fault(
      `Answers are HTTP/${httpVersion}, and BITS requires 1.1`,
      'A proxy in front must use 1.1 on both sides (nginx: proxy_http_version 1.1; Apache: no downgrade-1.0, no ' +
        'force-response-1.0).',
    )
  }
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity') {
    yield fault(
      `Answers are compressed (${encoding}), and an Ack has no body`,
      'Turn compression off for this path: a middleware such as compression(), gzip in nginx, dynamic compression in IIS.',
    )
  } else if (headers['transfer-encoding'] !== undefined) {
    yield fault(
      'Answers are chunked, and an Ack has Content-Length: 0',
      'Find what removes the field Content-Length: compression, a filter, or a proxy that rewrites answers.',
    )
  } else if (!isFramed(headers)) {
    yield fault(
      'Answers come without Content-Length, and an Ack has Content-Length: 0',
      'The server must send it: without it clients wait for a body until they time out.',
    )
  } else if (bodyLength > 0) {
    yield fault(
      'Answers have a body, and an Ack has none',
      "Do not let proxies write pages into these answers (nginx: proxy_intercept_errors off; IIS: httpErrors existingResponse='PassThrough').",
    )
  }
}
