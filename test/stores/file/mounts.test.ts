import { afterEach, describe, expect, it, vi } from 'vitest'
import { nodeFileSystem } from '../../../lib/stores/file/file-system.ts'
import { fileSystemOf } from '../../../lib/stores/file/mounts.ts'
import { failing, withCalls } from '../../support/file-system.ts'

const mounts = `21 26 0:20 / /proc rw,relatime - proc proc rw
26 1 254:0 / / rw,relatime - ext4 /dev/vda rw
27 26 8:300 / /srv/254:3 rw,relatime master:1 propagate_from:2 - xfs /dev/sda44 rw
28 26 254:3 / /srv/-\\040ext4\\040- rw shared:7 - nfs4 host:/254:0 rw
`

/** Makes one number of a device's two, as glibc does. */
const deviceOf = (major: number, minor: number): number =>
  Number((BigInt(major) << 8n) | BigInt(minor & 0xff) | (BigInt(minor >> 8) << 20n))

const on = (dev: number) =>
  withCalls({
    stat: async (path) => Object.assign(await nodeFileSystem.stat(path), { dev }),
    readFile: async () => mounts,
  })

afterEach(() => {
  vi.restoreAllMocks()
})

describe.runIf(process.platform === 'linux')('File system type on Linux', () => {
  it.each([
    [0, 20, 'proc'],
    [254, 0, 'ext4'],
    [8, 300, 'xfs'],
    [254, 3, 'nfs4'],
    [8, 44, undefined],
    [8, 1044, undefined],
  ])('maps device %i:%i to %s', async (major, minor, kind) => {
    expect(await fileSystemOf(on(deviceOf(major, minor)), '/')).toBe(kind)
  })

  it('is proc for /proc/self', async () => {
    expect(await fileSystemOf(nodeFileSystem, '/proc/self')).toBe('proc')
  })

  it('rejects with ENOENT for a missing path, and with EACCES for an unreadable mount table', async () => {
    await expect(fileSystemOf(nodeFileSystem, '/proc/no such thing')).rejects.toMatchObject({
      code: 'ENOENT',
    })
    const forbidden = withCalls({ readFile: async () => failing('EACCES') })
    await expect(fileSystemOf(forbidden, '/')).rejects.toMatchObject({ code: 'EACCES' })
  })
})

it.skipIf(process.platform === 'win32')('File system type: is undefined on other platforms', async () => {
  vi.spyOn(process, 'platform', 'get').mockReturnValue('darwin')
  expect(await fileSystemOf(on(deviceOf(254, 0)), '/')).toBeUndefined()
})
