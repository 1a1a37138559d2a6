import { describeHaproxy, startHaproxy } from '../support/haproxy.ts'
import { exampleConfig, type ProxyExample, replace, unchanged } from './proxy-example.ts'

const config = exampleConfig('haproxy.cfg')

/** The directives of the example, except those that name addresses and sections. */
export const directives: readonly string[] = [
  ...config.matchAll(/^ {2}(?!mode |bind |use_backend |server )([a-z][^#\n]*?)(?: #.*)?$/gm),
].map(([, directive = '']) => directive)

export const haproxyExample: ProxyExample = {
  name: 'HAProxy',
  describe: describeHaproxy,
  contentLength: '0',
  fieldName: 'bits-packet-type',
  start: (server, { change = unchanged, tls } = {}) =>
    startHaproxy((port) =>
      replace(change(config), {
        'server node1 127.0.0.1:8080': `server node1 ${server}`,
        ...(tls
          ? {
              '  bind :80\n': '',
              '# bind :443 ssl crt /etc/haproxy/files.example.pem': `bind 127.0.0.1:${port} ssl crt ${tls.both}`,
            }
          : { '  bind :80\n': `  bind 127.0.0.1:${port}\n` }),
      }),
    ),
  addServer: (text, server) => `${text}  server node2 ${server}\n`,
}
