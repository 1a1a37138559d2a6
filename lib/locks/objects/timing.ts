/** How long things take between nodes. Milliseconds. */
export interface Timing {
  /** From one heartbeat to the next. */
  readonly beat: number
  /** A heartbeat that another node saw stand still for so long is a dead node's. */
  readonly death: number
  /** How long a node that neither holds nor wants a lock stays alive. */
  readonly linger: number
  /** From one look at what others want of a node to the next. */
  readonly wants: number
  /** From one look at a lock that is taken to the next: at first, and at last. */
  readonly poll: readonly [first: number, last: number]
}

/**
 * A heartbeat may fail, and the next one, and the one after it may still be in time: nodes are not taken for dead because
 * of a hiccup. The clients of one that is dead come back after a minute by default, so ten seconds are soon enough.
 * To linger spares the packets of one client, which come close behind one another, a heartbeat each; for longer than one
 * beat it would cost more requests than it spares.
 */
export const usual: Timing = { beat: 2000, death: 10_000, linger: 2000, wants: 1000, poll: [100, 1000] }
