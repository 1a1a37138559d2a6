import { ProxyServer, type RunningProxy } from './proxy.ts'

const haproxy = new ProxyServer('haproxy', 'usr/sbin/haproxy', '-v')

/** Defines a suite that needs HAProxy. */
export const describeHaproxy = haproxy.describe.bind(haproxy)

/**
 * Starts HAProxy: a master, which says when its worker listens, and a worker, which ends with the master.
 * @param configuration for a port to listen on
 */
export const startHaproxy = (configuration: (port: number) => string): Promise<RunningProxy> =>
  haproxy.start({
    // Without `noreuseport` two processes of a user can listen on the same port.
    configuration: (port) => `global\n  noreuseport\n${configuration(port)}`,
    args: (file) => ['-W', '-f', file],
    ready: /Loading success/,
  })
