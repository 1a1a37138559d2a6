/** Downloads replies in the same way as a BITS client. */

import { type OutgoingHttpHeaders, request } from 'node:http'
import { type Answer, answerTo, type TestClient } from '../support/client.ts'

/**
 * The URL of the reply in the Ack for the last fragment, resolved against the destination as Windows does.
 */
export function replyUrlOf({ headers }: Answer, { url }: Pick<TestClient, 'url'>): URL {
  const reference = headers['bits-reply-url']
  if (typeof reference !== 'string') throw new Error('The Ack has no BITS-Reply-URL')
  return new URL(reference, url)
}

/** Downloads a reply with the headers that were captured from Windows. */
export function download(url: URL, headers: OutgoingHttpHeaders = {}, method = 'GET'): Promise<Answer> {
  const outgoing = request(url, {
    method,
    agent: false,
    headers: { Accept: '*/*', 'Accept-Encoding': 'identity', 'User-Agent': 'Microsoft BITS/7.8', ...headers },
  })
  const answer = answerTo(outgoing)
  outgoing.end()
  return answer
}
