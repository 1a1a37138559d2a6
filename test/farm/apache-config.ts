import { describeApache, startApache } from '../support/apache.ts'
import { exampleConfig, type ProxyExample, replace, unchanged } from './proxy-example.ts'

const config = exampleConfig('apache.conf')

/** The directives of the example, except those that name addresses and files. */
export const directives: readonly string[] = [
  ...config.matchAll(/^ +(?!ServerName |ProxyPass )([A-Z].*)$/gm),
].map(([, directive = '']) => directive)

export const apacheExample: ProxyExample = {
  name: 'Apache',
  describe: describeApache,
  contentLength: '0',
  fieldName: 'BITS-Packet-Type',
  start: (server, { change = unchanged, tls } = {}) =>
    startApache((port) =>
      replace(change(config), {
        'http://127.0.0.1:8080': `http://${server}`,
        '<VirtualHost *:80>': `<VirtualHost 127.0.0.1:${port}>`,
        ...(tls && {
          '# SSLEngine on': 'SSLEngine on',
          '# SSLCertificateFile /etc/ssl/files.example.pem': `SSLCertificateFile ${tls.certificate}`,
          '# SSLCertificateKeyFile /etc/ssl/files.example.key': `SSLCertificateKeyFile ${tls.key}`,
        }),
      }),
    ),
  addServer: (text, server) => `
    <Proxy balancer://uploads>
      BalancerMember http://127.0.0.1:8080
      BalancerMember http://${server}
    </Proxy>
    ${replace(text, { 'ProxyPass /upload/ http://127.0.0.1:8080': 'ProxyPass /upload/ balancer://uploads' })}`,
}
