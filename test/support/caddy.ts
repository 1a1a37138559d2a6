import { ProxyServer, type RunningProxy } from './proxy.ts'

const caddy = new ProxyServer('caddy', 'usr/bin/caddy', 'version')

/** Defines a suite that needs Caddy. */
export const describeCaddy = caddy.describe.bind(caddy)

/**
 * Starts Caddy without its admin endpoint, which would need a fixed port, and without automatic certificates.
 * @param sites returns the site blocks of the Caddyfile for a port to listen on
 */
export const startCaddy = (sites: (port: number) => string): Promise<RunningProxy> =>
  caddy.start({
    configuration: (port) => `{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\n${sites(port)}`,
    args: (file) => ['run', '--config', file, '--adapter', 'caddyfile'],
    // Caddy writes its state below these, by default in the home directory.
    env: (directory) => ({ HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory }),
    ready: /serving initial configuration/,
  })
