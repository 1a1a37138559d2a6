import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../support/port.ts'
import { end, start } from './process.ts'
import type { Server } from './server.ts'

/** The path to which `.ci/proxies` unpacks nginx. */
const unpacked = fileURLToPath(new URL('../../.cache/nginx/usr/sbin/nginx', import.meta.url))

/** The command of an nginx that accepts PUT; undefined if there is none. */
export const nginx = ['nginx', unpacked].find((command) => {
  const { stderr } = spawnSync(command, ['-V'], { encoding: 'utf8' })
  return stderr?.includes('http_dav_module')
})

/** Starts nginx as one process that accepts PUT below /files/ and stores the files in a directory. */
export async function startNginx(directory: string): Promise<Server> {
  if (!nginx) throw new Error('No nginx with the dav module was found. Run .ci/proxies to download one.')
  const prefix = join(directory, '.nginx')
  await mkdir(prefix)
  const port = await freePort()
  const file = join(prefix, 'nginx.conf')
  await writeFile(file, configuration(port, directory))
  const child = start(0, [nginx, '-p', prefix, '-c', file, '-e', 'stderr'])
  while (child.exitCode === null && !(await isOpen(port))) await delay(10)
  return { port, pid: child.pid ?? 0, collectGarbage: async () => {}, stop: () => end(child) }
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })

/**
 * The temporary file of a body is on the file system of the destination, because nginx would otherwise copy
 * it. The body of a PUT always goes through a file. The buffer is the size of one write: 16k takes 1.5 times
 * the processor time of 512k, and 1m as much as 512k.
 */
const configuration = (port: number, directory: string): string => `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events { worker_connections 8192; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_max_body_size 0;
  client_body_buffer_size 512k;
  server {
    listen 127.0.0.1:${port} backlog=8192;
    location /files/ {
      alias ${directory}/;
      dav_methods PUT;
    }
  }
}
`
