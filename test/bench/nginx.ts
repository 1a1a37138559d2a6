import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePort } from '../support/port.ts'
import { end, start } from './process.ts'
import type { Server } from './server.ts'

/** Where `.ci/nginx` puts it. */
const unpacked = fileURLToPath(new URL('../../.cache/nginx/usr/sbin/nginx', import.meta.url))

/** An nginx that takes PUT; undefined if there is none here. */
export const nginx = ['nginx', unpacked].find((command) => {
  const { stderr } = spawnSync(command, ['-V'], { encoding: 'utf8' })
  return stderr?.includes('http_dav_module')
})

/** Starts nginx, one process, on a directory: it takes PUT below /files/. */
export async function startNginx(directory: string): Promise<Server> {
  if (!nginx) throw new Error('There is no nginx with its dav module; to get one, run .ci/nginx')
  const home = join(directory, '.nginx')
  await mkdir(home)
  const port = await freePort()
  const file = join(home, 'nginx.conf')
  await writeFile(file, configuration(port, directory))
  const child = start(0, [nginx, '-p', home, '-c', file, '-e', 'stderr'])
  while (child.exitCode === null && !(await isOpen(port))) await delay(10)
  return { port, pid: child.pid ?? 0, collect: async () => {}, stop: () => end(child) }
}

const isOpen = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', () => resolve(false))
  })

/**
 * The temporary body lies on the file system of the destination: else it would be copied. A PUT's body always goes through
 * a file; the buffer is what is written at once, and 16k cost 1.5 times the processor's time, 1m no less than 512k.
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
