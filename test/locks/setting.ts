import { readdir } from 'node:fs/promises'
import { type Locker, lockKey } from '../../lib/locks/locker.ts'
import { processLocker } from '../../lib/locks/process.ts'
import { socketAddresses } from '../../lib/locks/socket-address.ts'
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

/** The address of the process with a tag: a socket file in the directory, on Windows a named pipe. */
export async function socketOf(directory: string, tag = ''): Promise<string> {
  const addresses = await socketAddresses(directory)
  addresses.close()
  return addresses.of(tag)
}

/** The folders of lock files in a directory. */
export const lockFolders = async (directory: string) =>
  (await readdir(directory)).filter((name) => !/\.(socket|machine)$/.test(name))
