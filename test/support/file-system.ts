import { type FileSystem, nodeFileSystem } from '../../lib/stores/file-system.ts'

/** The real file system, but for some calls. */
export const withCalls = (calls: Partial<FileSystem>): FileSystem => ({ ...nodeFileSystem, ...calls })

/** Fails as a call to the file system does. */
export const failing = (code: string): never => {
  throw Object.assign(new Error(`${code}: made by the test`), { code })
}
