/** Another user of the machine, who can enter the folder of the uploads. Needs root, to become that user. */
import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it, onTestFinished } from 'vitest'
import { fileStore } from '../../lib/index.ts'
import { temporaryDirectory } from '../support/directory.ts'
import { createNamespaces, describeUnless, unavailable } from './namespace.ts'
import { inProcess } from './remote-locker.ts'

/** What `other-user.mjs` prints. */
interface OtherUserReport {
  readonly uid: number
  /** All text in which names of other processes and their files are visible. */
  readonly seen: string
  /** The error code of each attempt, or `success`. */
  readonly refused: Readonly<Record<string, string>>
  /** The same, of connections to all sockets that are visible. */
  readonly connections: Readonly<Record<string, string>>
}

const asOtherUser = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath]

/** Why there can be no other user. */
function missing(): string | undefined {
  const namespaces = unavailable(['--net'])
  if (namespaces) return namespaces
  const [file = '', ...args] = asOtherUser
  const { status, stderr, error } = spawnSync(file, [...args, '--version'], { cwd: '/', encoding: 'utf8' })
  return status === 0 ? undefined : `Node cannot run as another user (${error?.message ?? stderr.trim()})`
}

const reason = missing()

/** The folder of the locks of a file store. */
const locksOf = (directory: string): string => join(directory, '.bits-sessions', 'locks')

/**
 * Two processes that share a directory, and see no sockets but their own. Each holds the lock of a session of the first one,
 * and a session without a lock.
 */
async function start(directory: string) {
  const { command } = await createNamespaces(['--net'])
  const [creator, other] = [inProcess(...command)(directory), inProcess(...command)(directory)]
  const held = [await creator.create(), await other.acquire(await creator.newKey())]
  await (await creator.create()).release()
  // So that nothing but the mode of the folder itself protects the locks.
  await chmod(join(directory, '.bits-sessions'), 0o755)

  const program = await readFile(new URL('other-user.mjs', import.meta.url), 'utf8')
  async function attack(): Promise<OtherUserReport> {
    const node = [...asOtherUser, '--input-type=module', '--eval', program]
    const [file = '', ...args] = [...command, ...node, locksOf(directory), String(creator.pid)]
    const { stdout } = await promisify(execFile)(file, args, { cwd: '/', maxBuffer: 2 ** 28 })
    return JSON.parse(stdout)
  }
  return { creator, other, held, attack }
}

describeUnless(reason, 'Another user of the machine', () => {
  /** Paths of sockets with fewer bytes than a socket may have, and more. */
  for (const [name, folders] of [
    ['short', []],
    ['long', ['a'.repeat(60), 'b'.repeat(60)]],
  ] as const) {
    async function openDirectory(): Promise<string> {
      const root = await temporaryDirectory()
      await chmod(root, 0o755)
      const directory = join(root, ...folders)
      await mkdir(directory, { recursive: true, mode: 0o755 })
      return directory
    }

    it(`cannot list, enter, change or replace the folder of the locks (${name} path)`, async () => {
      const { attack } = await start(await openDirectory())
      const { uid, refused } = await attack()
      expect(uid).toBe(65534)
      const { rename, remove, open, signal, moveIn, ...rest } = refused
      // Of the folder, of the folder above it, or because it belongs to another user.
      expect(new Set(Object.values(rest))).toEqual(new Set(['EACCES']))
      for (const code of [rename, remove, open, signal, moveIn])
        expect(code).toMatch(/^(EACCES|EPERM|EXDEV)$/)
    })

    it(`sees the prefixes of session ids, and no session id (${name} path)`, async () => {
      const directory = await openDirectory()
      const { creator, held, attack } = await start(directory)
      const { seen } = await attack()
      // The kernel shows the paths of all sockets to all users.
      const prefix = (await creator.idPrefix()) ?? ''
      expect(seen.includes(`${prefix}.socket`)).toBe(true)
      for (const { key } of held) {
        const [id] = JSON.parse(key)
        const hash = createHash('sha256').update(key).digest('hex').slice(0, 32)
        // Of the id the prefix, and no two digits more.
        const secrets = [id.slice(1, prefix.length + 3), id.slice(prefix.length + 1, -1), hash]
        expect(secrets.filter((secret) => seen.includes(secret))).toEqual([])
      }
    })

    it(`cannot connect to a process or disturb a lock (${name} path)`, async () => {
      const { creator, other, held, attack } = await start(await openDirectory())
      const { connections } = await attack()
      for (const code of Object.values(connections)) expect(code).toBe('EACCES')
      // Two paths of each of two sockets.
      expect(Object.keys(connections)).toHaveLength(4)
      await Promise.all([creator.idPrefix(), other.idPrefix()])
      for (const lock of held) {
        expect(lock.requests()).toBe(0)
        const waiting = (lock === held[0] ? other : creator).acquire(lock.key)
        await lock.requested()
        const releasedAt = await lock.release()
        expect((await waiting).acquiredAt > releasedAt).toBe(true)
      }
    })
  }
})

describe('The folder of the locks', () => {
  it.skipIf(process.platform === 'win32')('has mode 0700 whatever the umask is', async () => {
    const umask = process.umask(0)
    onTestFinished(() => void process.umask(umask))
    const directory = await temporaryDirectory()
    await fileStore(directory).locker?.idPrefix?.()
    for (const path of [locksOf(directory), join(directory, '.bits-sessions')])
      expect((await stat(path)).mode & 0o777).toBe(0o700)
  })
})
