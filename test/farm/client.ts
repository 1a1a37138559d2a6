import { Agent } from 'node:http'
import { type Answer, TestClient } from '../support/client.ts'

/** A client whose every packet comes by a connection of its own, to be put anywhere by a balancer. */
export class HoppingClient extends TestClient {
  override readonly agent = new Agent({ keepAlive: false })
}

/** The name of the node that answered; undefined if nginx did. */
export const nodeOf = ({ headers }: Answer): string | undefined => headers['x-node']?.toString()

/** Sends a packet, as clients do after a 5xx, until it does not meet a node that has died: that is nginx's 502. */
export async function persist(packet: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await packet()
    if (answer.status !== 502) return answer
  }
}
