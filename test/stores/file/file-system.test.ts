import { execFileSync } from 'node:child_process'
import { constants } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { currentBoot, nodeFileSystem, sameBoot } from '../../../lib/stores/file/file-system.ts'

describe.runIf(process.platform === 'linux')('nodeFileSystem on Linux', () => {
  it('rejects write with EAGAIN when only a part of the text fits', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'bits-pipe-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    const path = join(directory, 'pipe')
    execFileSync('mkfifo', [path])
    // A pipe accepts only a part of more bytes than it holds, as a disk that is almost full does.
    const pipe = await open(path, constants.O_RDWR | constants.O_NONBLOCK)
    onTestFinished(() => pipe.close())
    const text = 'x'.repeat(1024 * 1024)
    await expect(nodeFileSystem.write(pipe.fd, text)).rejects.toMatchObject({ code: 'EAGAIN' })
    const { bytesRead } = await pipe.read(Buffer.alloc(text.length))
    expect(bytesRead).toBeGreaterThan(0)
    expect(bytesRead).toBeLessThan(text.length)
  })

  it('rejects write and writev with ENOSPC when the disk is full', async () => {
    const full = await open('/dev/full', 'w')
    onTestFinished(() => full.close())
    const failure = { code: 'ENOSPC' }
    await expect(nodeFileSystem.write(full.fd, 'x')).rejects.toMatchObject(failure)
    await expect(nodeFileSystem.writev(full.fd, [Buffer.from('x')], 0)).rejects.toMatchObject(failure)
  })
})

it('sameBoot: accepts equal ids and start times at most 5 seconds apart', () => {
  expect(sameBoot(currentBoot(), currentBoot())).toBe(true)
  expect(sameBoot('a', 'b')).toBe(false)
  expect(sameBoot('1700000000', '1700000004')).toBe(true)
  expect(sameBoot('1700000000', '1700000006')).toBe(false)
})
