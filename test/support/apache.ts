import { join } from 'node:path'
import { ProxyServer, type RunningProxy } from './proxy.ts'

const apache = new ProxyServer('apache2', 'usr/sbin/apache2', '-v')

/** Defines a suite that needs Apache. */
export const describeApache = apache.describe.bind(apache)

const modules = join(apache.isUnpacked ? apache.unpacked : '/', 'usr/lib/apache2/modules')

/**
 * Starts Apache as one process in the foreground, so that killing it leaves no workers.
 * @param hosts returns the virtual hosts for a port to listen on
 */
export const startApache = (hosts: (port: number) => string): Promise<RunningProxy> =>
  apache.start({
    configuration: (port, directory) => `${prelude(port, directory)}${hosts(port)}`,
    args: (file) => ['-X', '-f', file],
    // The module of proxies, when it prepares its connections to the server.
    ready: /AH00930: initialized pool/,
  })

/** As root Apache changes to another user, which may have any number and needs no files. */
const prelude = (port: number, directory: string): string => `
ServerRoot ${directory}
ServerName localhost
PidFile ${join(directory, 'pid')}
ErrorLog "|/bin/cat"
LogLevel info proxy:debug
User #65534
Group #65534
Listen 127.0.0.1:${port}
${loaded.map((name) => `LoadModule ${name}_module ${join(modules, `mod_${name}.so`)}`).join('\n')}
`

/** The modules that the example needs, and those that Debian loads by default and that affect requests. */
const loaded = [
  'mpm_event',
  'authz_core',
  'reqtimeout',
  'headers',
  'socache_shmcb',
  'ssl',
  'proxy',
  'proxy_http',
  'lbmethod_byrequests',
  'slotmem_shm',
  'proxy_balancer',
]
