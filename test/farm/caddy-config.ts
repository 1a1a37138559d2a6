import { describeCaddy, startCaddy } from '../support/caddy.ts'
import { exampleConfig, type ProxyExample, replace, unchanged } from './proxy-example.ts'

const config = exampleConfig('Caddyfile')

export const caddyExample: ProxyExample = {
  name: 'Caddy',
  describe: describeCaddy,
  contentLength: undefined,
  fieldName: 'Bits-Packet-Type',
  start: (server, { change = unchanged, tls } = {}) =>
    startCaddy((port) =>
      replace(change(config), {
        '/upload/* 127.0.0.1:8080': `/upload/* ${server}`,
        'files.example {': `${tls ? 'https://files.example' : 'http://127.0.0.1'}:${port} {`,
        ...(tls && {
          '# tls /etc/ssl/files.example.pem /etc/ssl/files.example.key': `tls ${tls.certificate} ${tls.key}`,
        }),
      }),
    ),
  // By default Caddy selects a server at random.
  addServer: (text, server) =>
    replace(text, {
      'reverse_proxy /upload/* 127.0.0.1:8080': `reverse_proxy /upload/* 127.0.0.1:8080 ${server} {
        lb_policy first
      }`,
    }),
}
