import { readdir } from 'node:fs/promises'
import { type Locker, lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { newGuid } from '../../lib/protocol/packet.ts'
import { temporaryDirectory } from '../support/directory.ts'

/** Two lockers of a directory, and the key of a new session of the first. */
export async function setting() {
  const directory = await temporaryDirectory()
  const [here, there] = [processLocker(directory), processLocker(directory)]
  return { directory, here, there, key: await newKey(here) }
}

export async function newKey(locker: Locker, path = '/upload/ü.bin'): Promise<string> {
  return lockKey({ id: newGuid(await locker.idPrefix?.()), owner: 'Jörg "J"', path })
}

/** The folders of lock files in a directory. */
export const lockFolders = async (directory: string) =>
  (await readdir(directory)).filter((name) => !/\.(socket|machine)$/.test(name))
