import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { startAzurite } from './azurite.ts'
import { startCeph } from './ceph.ts'
import type { Service } from './service.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where to ask for a service: `GET /name`. */
    services: string
  }
}

const starts: Record<string, () => Promise<Service>> = { '/azurite': startAzurite, '/ceph': startCeph }

/**
 * What vitest does before all tests of a run: it offers services, of which those that a test asks for are started, once.
 * @returns what it does after all tests
 */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const services = new Map<string, Promise<Service>>()

  function service(path: string): Promise<Service> {
    const started =
      services.get(path) ?? starts[path]?.() ?? Promise.reject(new Error(`No service is at ${path}`))
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
