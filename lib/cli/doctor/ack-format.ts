import { field } from '../../protocol/headers.ts'
import { type Finding, fault } from './context.ts'
import { isAck, isFramed, type RawResponse } from './prober.ts'

/** What is wrong with the form of an Ack, whatever it says ([MC-BUP] 2.2.1: version 1.1; 2.2.3 to 2.2.11: no body). */
export function* ackFormat(answer: RawResponse): Generator<Finding> {
  // Others than BITS servers may answer as they like.
  if (!isAck(answer)) return
  const { headers, httpVersion, bodyLength } = answer
  if (httpVersion !== '1.1') {
    yield fault(
      `Answers come as HTTP/${httpVersion}, and BITS wants 1.1`,
      'What stands in front has to speak 1.1 on both sides (nginx: proxy_http_version 1.1; Apache: no downgrade-1.0, no ' +
        'force-response-1.0).',
    )
  }
  const encoding = field(headers, 'content-encoding')?.trim().toLowerCase()
  if (encoding && encoding !== 'identity') {
    yield fault(
      `Answers are compressed (${encoding}), and an Ack has nothing to compress`,
      'Turn compression off for this path: a middleware such as compression(), gzip in nginx, dynamic compression in IIS.',
    )
  } else if (headers['transfer-encoding'] !== undefined) {
    yield fault(
      'Answers are chunked, and an Ack says Content-Length: 0',
      'Find what takes the field Content-Length away: a compression, a filter, or a proxy that rewrites answers.',
    )
  } else if (!isFramed(headers)) {
    yield fault(
      'Answers come without Content-Length, and an Ack says Content-Length: 0',
      'Whatever answers has to send it, also where there is no body: clients wait for one until they give up.',
    )
  } else if (bodyLength > 0) {
    yield fault(
      'Answers have a body, and an Ack has none',
      "Whatever writes pages into answers has to leave these alone (nginx: proxy_intercept_errors off; IIS: httpErrors existingResponse='PassThrough').",
    )
  }
}
