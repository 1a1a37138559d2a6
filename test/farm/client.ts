import { Agent } from 'node:http'
import { type Answer, TestClient } from '../support/client.ts'

/**
 * A client that opens a new connection for each packet, so that a load balancer can send each to another
 * node.
 */
export class NewConnectionClient extends TestClient {
  override readonly agent = new Agent({ keepAlive: false })
}

/** The address of the node that nginx passed the packet to; undefined if the packet did not pass nginx. */
export const nodeOf = ({ headers }: Answer): string | undefined => headers['x-node']?.toString()

/**
 * Sends a packet again while nginx returns 502, the answer for a failed node, as BITS clients do after a 5xx.
 */
export async function retryOn502(packet: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await packet()
    if (answer.status !== 502) return answer
  }
}
