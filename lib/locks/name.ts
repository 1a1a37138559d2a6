/**
 * What a session is locked under. Its owner and path are part of it, so that a packet that is another's, or goes
 * elsewhere, does not even disturb.
 */
export const lockKey = ({
  id,
  owner,
  path,
}: {
  id: string
  owner?: string | undefined
  path: string
}): string => JSON.stringify([id, owner ?? null, path])

/** The session that a lock's name is of, by its id and the mark that the id bears, see `newGuid`. */
export function parseLockKey(name: string): { readonly id: string; readonly mark: string } | undefined {
  const [, id, mark] = /^\["(\{([0-9A-F]{6})[0-9A-F-]{30}\})"/.exec(name) ?? []
  return id === undefined || mark === undefined ? undefined : { id, mark }
}
