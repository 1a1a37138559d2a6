/** Addresses of sockets on other systems, and tags that are in use. In a process of its own, because it replaces globals. */

import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { processLocker } from '../../lib/locks/process.ts'
import { socketAddresses } from '../../lib/locks/socket-address.ts'
import { temporaryDirectory } from '../support/directory.ts'

const { randomBytes } = vi.hoisted(() => ({ randomBytes: vi.fn<(size: number) => Buffer>() }))
vi.mock('node:crypto', async (original) => ({ ...(await original<object>()), randomBytes }))

function onPlatform(platform: NodeJS.Platform): void {
  const descriptor = Object.getOwnPropertyDescriptor(process, 'platform') as PropertyDescriptor
  Object.defineProperty(process, 'platform', { ...descriptor, value: platform })
  onTestFinished(() => void Object.defineProperty(process, 'platform', descriptor))
}

describe('socketAddresses', () => {
  it('are named pipes on Windows, the same for all paths of a directory', async () => {
    const [directory, other] = [await temporaryDirectory(), await temporaryDirectory()]
    onPlatform('win32')
    const addresses = await socketAddresses(directory)
    expect(addresses.of('ABCDEF')).toMatch(/^\\\\\.\\pipe\\express-bits-upload-[0-9a-f]{32}-ABCDEF$/)
    expect((await socketAddresses(join(directory, '.'))).of('ABCDEF')).toBe(addresses.of('ABCDEF'))
    expect((await socketAddresses(other)).of('ABCDEF')).not.toBe(addresses.of('ABCDEF'))
    expect(addresses.areFiles).toBe(false)
    addresses.close()
  })

  it('on macOS reject a path that is too long, and say what to do', async () => {
    const directory = join(await temporaryDirectory(), 'd'.repeat(200))
    onPlatform('darwin')
    await expect(socketAddresses(directory)).rejects.toThrow(
      /^The path of a socket may have \d+ bytes, and \S+ has more: use a directory with a shorter path$/,
    )
  })
})

describe('processLocker', () => {
  // Named pipes of Windows are no files.
  it.skipIf(process.platform === 'win32')('chooses another tag if the random one is in use', async () => {
    const directory = await temporaryDirectory()
    const tags = ['ABCDEF', 'ABCDEF', '012345']
    randomBytes.mockImplementation(() => Buffer.from(tags.shift() ?? 'FFFFFF', 'hex'))
    expect(await processLocker(directory).idPrefix?.()).toBe('ABCDEF')
    expect(await processLocker(directory).idPrefix?.()).toBe('012345')
    expect((await stat(join(directory, 'ABCDEF.socket'))).isSocket()).toBe(true)
  })
})
