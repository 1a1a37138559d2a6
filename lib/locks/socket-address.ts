import { createHash } from 'node:crypto'
import { close, constants, openSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Bytes that the path of a socket may have: 107 on Linux, 103 on macOS. */
const MaxPathBytes = process.platform === 'linux' ? 107 : 103

/** The addresses of the sockets in one directory. */
export interface SocketAddresses {
  /** The address of the process with this tag. */
  of(tag: string): string
  /** Whether addresses are files, which stay when their process is killed. */
  readonly areFiles: boolean
  close(): void
}

/**
 * On Windows a named pipe with a name that is made of the volume and the file id of the directory; elsewhere a socket
 * file in the directory. On Linux a path that is too long for a socket begins with a descriptor of the directory.
 * @throws an `Error` that says what to do if the path is too long, and the system's error
 */
export async function socketAddresses(directory: string): Promise<SocketAddresses> {
  if (process.platform === 'win32') {
    const { dev, ino } = await stat(directory, { bigint: true })
    const name = createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32)
    const of = (tag: string): string => `\\\\.\\pipe\\express-bits-upload-${name}-${tag}`
    return { of, areFiles: false, close: () => {} }
  }
  const pathOf = (tag: string): string => join(directory, `${tag}${SocketExtension}`)
  if (Buffer.byteLength(pathOf('000000')) <= MaxPathBytes)
    return { of: pathOf, areFiles: true, close: () => {} }
  if (process.platform !== 'linux') {
    throw new Error(
      `The path of a socket may have ${MaxPathBytes} bytes, and ${pathOf('000000')} has more: use a directory with a ` +
        `shorter path`,
    )
  }
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  return {
    of: (tag) => `/proc/self/fd/${fd}/${tag}${SocketExtension}`,
    areFiles: true,
    close: () => close(fd, () => {}),
  }
}

export const SocketExtension = '.socket'
