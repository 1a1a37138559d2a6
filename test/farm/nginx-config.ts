import { describeNginx, startNginx } from '../support/nginx.ts'
import { exampleConfig, type ProxyExample, replace, unchanged } from './proxy-example.ts'

const config = exampleConfig('nginx.conf')

/** The directives of the example, except those that name addresses and files. */
export const directives: readonly string[] = [
  ...config.matchAll(/^ +(?!listen |server_name |proxy_pass )([a-z][^;{]+);/gm),
].map(([, directive = '']) => directive)

/** The contents of the example's server block, without its port, for a server with this URL. */
export function configFor(upstream: string, text = config): string {
  const [, contents = ''] = /^server \{$(.*)^\}$/ms.exec(text) ?? []
  return replace(contents, {
    'listen 80;': '',
    'server_name files.example;': '',
    'http://127.0.0.1:8080': upstream,
  })
}

/** A server block for a port of 127.0.0.1. */
export const serverBlock = (port: number, contents: string): string => `
server {
  listen 127.0.0.1:${port};
  ${contents}
}
`

export const nginxExample: ProxyExample = {
  name: 'nginx',
  describe: describeNginx,
  contentLength: '0',
  fieldName: 'BITS-Packet-Type',
  start: (server, { change = unchanged, tls } = {}) =>
    startNginx((port) =>
      replace(change(config), {
        '127.0.0.1:8080;': `${server};`,
        ...(tls
          ? {
              'listen 80;': '',
              '# listen 443 ssl;': `listen 127.0.0.1:${port} ssl;`,
              '# ssl_certificate /etc/ssl/files.example.pem;': `ssl_certificate ${tls.certificate};`,
              '# ssl_certificate_key /etc/ssl/files.example.key;': `ssl_certificate_key ${tls.key};`,
            }
          : { 'listen 80;': `listen 127.0.0.1:${port};` }),
      }),
    ),
  addServer: (text, server) => `
    upstream uploads {
      server 127.0.0.1:8080;
      server ${server};
    }
    ${replace(text, { 'proxy_pass http://127.0.0.1:8080;': 'proxy_pass http://uploads;' })}`,
}
