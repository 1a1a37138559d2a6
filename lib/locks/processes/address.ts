import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * What processes of one machine listen at: on Linux an abstract address, which holds among those of one network
 * namespace and leaves no file.
 */
export function addressOf(label: string): string {
  const name = `express-bits-upload-${label}`
  if (process.platform === 'linux') return `\0${name}`
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : join(tmpdir(), name)
}

/** Whether an address is a file, which a dead process leaves. */
export const isFile = (address: string): boolean => !/^[\0\\]/.test(address)
