import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readCheckedLine, toCheckedLine } from '../../lib/stores/state.ts'

// biome-ignore lint/suspicious/noExplicitAny: tests read the fields that they expect
type Line = any

const journalPath = (root: string, id: string): string => join(root, '.bits-sessions', `${id}.json`)

/** The lines of a session's journal in a file store: the session, then the entries. */
export async function readJournal(root: string, id: string): Promise<Line[]> {
  const text = await readFile(journalPath(root, id), 'utf8')
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => readCheckedLine(line, id))
}

/** Changes lines of a journal, with correct checksums. */
async function editJournal(root: string, id: string, edit: (line: Line) => Line): Promise<void> {
  const lines = (await readJournal(root, id)).map(edit).map((line) => `${toCheckedLine(line)}\n`)
  await writeFile(journalPath(root, id), lines.join(''))
}

/** Rewrites a journal as if it was written under an earlier boot of the machine. */
export const reboot = (root: string, id: string): Promise<void> =>
  editJournal(root, id, (line) => ('boot' in line ? { ...line, boot: 'another-boot' } : line))
