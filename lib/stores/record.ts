import type { NewSession } from './store.ts'

/** What becomes known of a session later. */
export interface Facts {
  /** Size of the whole file. */
  readonly total?: number
  /** Bytes that would survive a loss of power. */
  readonly synced?: number
  /** The boot under which the bytes behind `synced` were written. */
  readonly boot?: string
  /** `onUpload` took the upload; no longer, if its bytes vanished after. */
  readonly accepted?: boolean
  /** The part was about to be renamed: once it is gone, it stands under the session's name. */
  readonly publishing?: true
  /** A copy of the part was begun beside the destination, which lies on another file system. */
  readonly copying?: true
}

/** A session's record: its beginning, and all facts since. */
export interface Record {
  readonly session: NewSession
  readonly facts: Facts & { readonly boot: string }
}

/**
 * A record is a journal, a line of JSON a fact: a fact costs one small append, nothing is ever written in place, and a
 * line that a crash tore is a fact that did not happen. Hence the line feed on both sides: whatever stands before, a
 * new fact begins on a line of its own.
 */
export const factLine = (facts: Facts): string => `\n${JSON.stringify(facts)}\n`

export const firstLine = (session: NewSession, boot: string): string =>
  `${JSON.stringify({ version: 1, session })}\n${JSON.stringify({ boot })}\n`

/** Undefined for what is no record, or one torn while it was made. */
export function readRecord(text: string): Record | undefined {
  const lines = text.split('\n')
  lines.pop() // What follows the last line feed is empty, or torn.
  const [head, ...facts] = lines.map(readLine)
  if (head?.version !== 1 || typeof head.session?.id !== 'string') return undefined
  const all = Object.assign({}, ...facts)
  return typeof all.boot === 'string' ? { session: head.session, facts: all } : undefined
}

// biome-ignore lint/suspicious/noExplicitAny: what stands in a file is checked where it is used
function readLine(line: string): any {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
