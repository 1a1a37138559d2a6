import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { startAzurite } from './azurite.ts'
import { startCeph } from './ceph.ts'
import type { Service } from './daemons.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The base URL of the services: `GET /name` starts one and returns its `access`. */
    services: string
  }
}

const starts: Record<string, () => Promise<Service>> = { '/azurite': startAzurite, '/ceph': startCeph }

/**
 * Global setup of vitest, before all tests of a run. It serves the `access` data of services over HTTP. The
 * first request for a service starts it.
 * @returns the global teardown, which ends all services
 */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const services = new Map<string, Promise<Service>>()

  function service(path: string): Promise<Service> {
    const started =
      services.get(path) ?? starts[path]?.() ?? Promise.reject(new Error(`There is no service ${path}`))
    services.set(path, started)
    return started
  }

  const server = createServer(async ({ url = '' }, response) => {
    try {
      response.end(JSON.stringify((await service(url)).access))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  provide('services', `http://127.0.0.1:${(server.address() as AddressInfo).port}`)

  return async () => {
    server.close()
    server.closeAllConnections()
    for (const result of await Promise.allSettled(services.values())) {
      if (result.status === 'fulfilled') await result.value.end()
    }
  }
}
