/**
 * The error of a directory that cannot be used, which names it and says why.
 * @param what what cannot be done, with the directory: `cannot write to the directory /srv`
 */
export function directoryError(what: string, cause: unknown): Error {
  const { code, message } = cause as NodeJS.ErrnoException
  return new Error(`${what}: ${reasons[code ?? ''] ?? message}`, { cause })
}

const reasons: Readonly<Record<string, string>> = {
  EEXIST: 'it is a file, not a directory (EEXIST)',
  ENOTDIR: 'it, or a part of its path, is a file, not a directory (ENOTDIR)',
  ENOENT: 'no directory can be created there (ENOENT)',
  EACCES: 'this user has no permission (EACCES)',
  EROFS: 'the file system is read-only (EROFS)',
}
