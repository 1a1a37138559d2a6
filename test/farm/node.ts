/** Processes and machines of examples/many-nodes, and the nginx in front of them. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { folder, startWith } from '../examples/start.ts'
import { type Nginx, startNginx } from '../support/nginx.ts'

/** A process of a farm. */
export interface FarmNode {
  /** Its host and port, by which nginx reaches it. */
  readonly address: string
  /** Kills the process, and resolves when it has exited. */
  kill(): Promise<unknown>
}

/** Starts one of several processes that share a directory, on any free port. */
export const startProcess = (directory: string): Promise<FarmNode> =>
  startNode('process', directory, '127.0.0.1', {})

/** Starts a machine with a directory of its own. It sends its address to clients as BITS-Host-Id. */
export const startMachine = (host: string, port: number, directory: string): Promise<FarmNode> =>
  startNode('host-id', directory, host, { HOST_ID: host, LISTEN: host, PORT: String(port) })

async function startNode(
  name: string,
  directory: string,
  host: string,
  env: NodeJS.ProcessEnv,
): Promise<FarmNode> {
  const program = startWith(env, directory, `many-nodes/${name}`)
  const { port } = await program.url()
  return { address: `${host}:${port}`, kill: () => program.end('SIGKILL') }
}

/**
 * Starts nginx with the configuration of the example on a free port, in front of other nodes. It names the node that a
 * response is from, see `nodeOf`.
 *
 * @param nodes returns the addresses of the nodes for a port of nginx
 */
export async function startExampleNginx(nodes: (port: number) => readonly string[]): Promise<Nginx> {
  const config = await readFile(join(folder, 'many-nodes/nginx.conf'), 'utf8')
  const replace = (text: string, pattern: RegExp, replacement: string): string => {
    if (!pattern.test(text)) throw new Error(`nginx.conf has no ${pattern}`)
    return text.replace(pattern, replacement)
  }
  return startNginx((port) => {
    const servers = nodes(port).map((address) => `  server ${address};\n`)
    const withServers = replace(config, /(^ {2}server [\d.:]+;\n)+/m, servers.join(''))
    const listen = `listen 127.0.0.1:${port};\n  add_header X-Node $upstream_addr always;`
    return replace(withServers, /listen 127\.0\.0\.1:8080;/, listen)
  })
}
