import { ProxyServer, type RunningProxy } from './proxy.ts'

export type Nginx = RunningProxy

const nginx = new ProxyServer('nginx', 'usr/sbin/nginx', '-v')

/** Defines a suite that needs nginx. */
export const describeNginx = nginx.describe.bind(nginx)

/**
 * Starts nginx. Its output is the error log with level `info`.
 * @param http returns the block `http` of the configuration for a port to listen on
 */
export const startNginx = (http: (port: number) => string): Promise<Nginx> =>
  nginx.start({
    configuration: (port) => configuration(http(port)),
    args: (file, directory) => ['-p', directory, '-c', file, '-e', 'stderr'],
    ready: /using the "\w+" event method/,
  })

/**
 * One process in the foreground, for three reasons: killing it leaves no workers; as root it keeps its user
 * (workers would run as another user, without access to the directory of the test); and round robin counts
 * all connections together.
 */
const configuration = (http: string): string => `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr info;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
${http}
}
`
