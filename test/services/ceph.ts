import { execFile, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { freePort } from '../support/port.ts'
import { cephLibraries, cephEnvironment as env } from './ceph-programs.ts'
import { Daemons, type Service } from './daemons.ts'

/**
 * Starts Ceph's S3 gateway on a free port of the loopback interface: one monitor, one disk, which is in
 * memory.
 */
export async function startCeph(): Promise<Service> {
  for (let attempts = 1; ; attempts++) {
    const daemons = new Daemons()
    try {
      return { access: await start(daemons), end: () => daemons.end() }
    } catch (error) {
      await daemons.end()
      // Another process may have taken the free port. Then the gateway ends without printing the reason.
      if (attempts === 3) throw error
    }
  }
}

async function start(daemons: Daemons): Promise<S3ClientConfig> {
  const { directory } = daemons
  const port = await freePort()
  const secret = randomBytes(20).toString('hex')
  await mkdir(join(directory, 'mon'))
  await mkdir(join(directory, 'osd'))
  await writeFile(join(directory, 'ceph.conf'), configuration(directory, await freePort(), port))

  const common = ['--conf', join(directory, 'ceph.conf'), '--no-mon-config']
  const run = (program: string, ...args: string[]) =>
    promisify(execFile)(program, [...common, ...args], { env, timeout: 20_000 })
  // setpriv makes the kernel kill the daemon with its parent. The daemon itself does not notice a killed
  // parent.
  const daemon = (ready: RegExp, program: string, ...args: string[]) =>
    daemons.add(
      spawn('setpriv', ['--pdeathsig', 'KILL', program, ...common, '--foreground', ...args], {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
      ready,
    )

  const map = join(directory, 'map')
  await run('osdmaptool', '--createsimple', '1', map)
  await run('ceph-mon', '--mkfs', '--id', 'a', '--osdmap', map)
  await daemon(/is new leader/, 'ceph-mon', '--id', 'a')
  await run('ceph-osd', '--mkfs', '--id', '0')
  // A pool created before the disk is active is retried only after five seconds.
  await daemon(/booting -> active/, 'ceph-osd', '--id', '0')
  await run(
    'radosgw-admin',
    ...['user', 'create', '--uid=tests', '--display-name=tests'],
    ...['--access-key=tests', `--secret-key=${secret}`],
  )
  // The gateway prints this as soon as it listens.
  await daemon(/service_daemon_register/, 'radosgw', '--name', 'client.gateway')
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'default',
    forcePathStyle: true,
    credentials: { accessKeyId: 'tests', secretAccessKey: secret },
    // This gateway does not know the checksums that the SDK sends by default since 2025.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  }
}

const configuration = (directory: string, monitorPort: number, gatewayPort: number): string => `
[global]
fsid = ${randomUUID()}
${cephLibraries ? `plugin dir = ${cephLibraries}/ceph\nosd class dir = ${cephLibraries}/rados-classes` : ''}
mon data = ${directory}/mon
osd data = ${directory}/osd
run dir = ${directory}
crash dir = ${directory}
admin socket =
public addr = 127.0.0.1
ms bind retry count = 1
auth cluster required = none
auth service required = none
auth client required = none

# The parent process reads stderr and keeps its end.
log to stderr = true
log to file = false
mon cluster log to file = false
debug rocksdb = 0

# One disk, no copies. A full disk never answers, so the quota of the user is below its size. The disk takes twice as much
# memory as it holds.
osd objectstore = memstore
memstore device bytes = 4294967296
rgw user default quota max size = 2147483648
osd pool default size = 1
osd pool default pg num = 1
osd erasure code plugins =
mon allow pool size one = true

# Without this each change of the cluster waits a second for more changes. A dozen precede the first upload.
paxos propose interval = 0.01
paxos min wait = 0.001

# Removed objects are deleted at once, not after two hours.
rgw gc obj min wait = 0
rgw gc processor period = 1
rgw thread pool size = 64
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort} tcp_nodelay=1

[mon.a]
mon addr = v1:127.0.0.1:${monitorPort}
`
