import { inject } from 'vitest'

/**
 * Returns the data that clients of a service need. The first request starts the service; it ends after all
 * tests.
 */
export async function access<T>(name: 'azurite' | 'ceph'): Promise<T> {
  const response = await fetch(`${inject('services')}/${name}`)
  if (!response.ok) throw new Error(`The service ${name} did not start: ${await response.text()}`)
  return (await response.json()) as T
}
